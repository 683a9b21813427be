"""yt-dlp, in a process of its own that sees nothing of this one and reaches the network through our proxy only."""

import asyncio
import importlib.util
import json
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.mesh.errors import FetchFailed
from services.mesh.telemetry import get_logger
from services.storage.domain import SiteNotSupported
from services.storage.sites.source import Source
from services.storage.sites.tunnel import Connect, open_proxy
from services.storage.sites.youtube import PAGE_DOMAINS, choose_audio

LONGEST_WAIT_SECONDS = 15.0
MAX_DOCUMENT_BYTES = 16 * 1024 * 1024
_LIMITS = ((resource.RLIMIT_CPU, 60), (resource.RLIMIT_FSIZE, MAX_DOCUMENT_BYTES), (resource.RLIMIT_NOFILE, 128))
# The document of one video and nothing else: no files, caches, cookies, accounts, plug-ins, updates or foreign code.
_OPTIONS = (
    *("--ignore-config", "--no-plugin-dirs", "--no-remote-components", "--no-js-runtimes", "--no-cache-dir"),
    *("--no-cookies", "--no-cookies-from-browser", "--no-update", "--color", "never", "--no-progress", "--no-warnings"),
    *("--dump-single-json", "--no-playlist", "--flat-playlist", "--playlist-end", "1"),
    *("--ignore-no-formats-error", "--socket-timeout", "15", "--retries", "1", "--extractor-retries", "1"),
)


@dataclass(frozen=True, slots=True)
class Extractor:
    """How the process is run. `ca_file` replaces the authorities that it trusts."""

    connect: Connect
    seconds: float = 60.0
    ca_file: Path | None = None
    extractors: str = "youtube.*"
    domains: Sequence[str] = PAGE_DOMAINS

    async def find_audio(self, url: str) -> Source:
        """Where the audio of a page lies. Raises LicenceNotAllowed, SiteNotSupported, FetchFailed."""
        if importlib.util.find_spec("yt_dlp") is None:
            raise SiteNotSupported("This installation does not fetch from that site.")
        source = choose_audio(await self.read_document(url))
        # The site refuses its media for some seconds after its page was read.
        await asyncio.sleep(min(max(0.0, source.available_at - time.time()), LONGEST_WAIT_SECONDS))
        return source

    async def read_document(self, url: str) -> Mapping[str, Any]:
        """What yt-dlp knows of a page. Raises FetchFailed."""
        async with open_proxy(self.connect, self.domains) as proxy:
            with tempfile.TemporaryDirectory(prefix="steno-site-") as home:
                command = self._command(url, proxy)
                try:
                    async with asyncio.timeout(self.seconds):
                        return await _run(command, self._environment(home), home)
                except (TimeoutError, ValueError, RecursionError) as error:
                    raise FetchFailed from error

    def _command(self, url: str, proxy: str) -> Sequence[str]:
        trust = ("--compat-options", "no-certifi") if self.ca_file else ()
        # -I: neither the environment, the user's packages nor the working directory add to what is imported.
        program = (sys.executable, "-I", "-m", "yt_dlp")
        return (*program, *_OPTIONS, *trust, "--use-extractors", self.extractors, "--proxy", proxy, "--", url)

    def _environment(self, home: str) -> dict[str, str]:
        trust = {"SSL_CERT_FILE": str(self.ca_file)} if self.ca_file else {}
        return {"HOME": home, "TMPDIR": home, "PATH": "", "LANG": "C.UTF-8", "YTDLP_NO_PLUGINS": "1", **trust}


async def _run(command: Sequence[str], environment: Mapping[str, str], home: str) -> Mapping[str, Any]:
    """The document on standard output. Raises ValueError for anything else, FetchFailed when the process fails."""
    async with _child(command, environment, home) as child:
        assert child.stdout is not None  # noqa: S101
        output = bytearray()
        while piece := await child.stdout.read(1 << 16):
            output += piece
            if len(output) > MAX_DOCUMENT_BYTES:
                raise ValueError("the document is too large")
        status = await child.wait()
    if status != 0:
        get_logger("storage.sites").info("extractor failed", status=status)
        raise FetchFailed
    document = json.loads(output)
    if not isinstance(document, dict):
        raise FetchFailed
    return document


@asynccontextmanager
async def _child(command: Sequence[str], environment: Mapping[str, str], home: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process group that does not outlive the block."""
    nothing = asyncio.subprocess.DEVNULL
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=nothing,
        stdout=asyncio.subprocess.PIPE,
        stderr=nothing,
        env=environment,
        cwd=home,
        start_new_session=True,
        limit=1 << 18,
    )
    try:
        if sys.platform == "linux":
            with suppress(ProcessLookupError):
                for kind, most in _LIMITS:
                    resource.prlimit(child.pid, kind, (most, most))
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
