"""One file over HTTP, begun anew as seldom as can be.

huggingface_hub fetches files too, but since 2.x throws away what it has when its process ends; a model is gigabytes.
"""

import hashlib
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx2

from services.client.failures import CommandFailed
from services.models_cli.digests import is_as_offered
from services.models_cli.source import OfferedFile, Told

TRIES = 5
_TIMEOUT = httpx2.Timeout(30.0)
_FIRST_DELAY_SECONDS = 0.5
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_DIGEST_LENGTHS = (40, 64)


@dataclass(frozen=True, slots=True)
class Download:
    """What to fetch, and where to."""

    url: str
    headers: dict[str, str]
    file: OfferedFile
    target: Path

    @property
    def partial(self) -> Path:
        """Named by the content, so that nothing else is ever appended to it; hashed, for an etag is what the server likes."""
        content = hashlib.sha256(self.file.etag.encode()).hexdigest()[:16]
        return self.target.with_name(f"{self.target.name}.{content}.partial")


class Changed(Exception):
    """The server sends another file than the one that was offered."""


def download(wanted: Download, told: Told) -> None:
    """Fetch what is missing; a file with the wrong digest is fetched whole once more. Raises CommandFailed and httpx2's errors."""
    for attempt in (1, 2):
        _complete(wanted, told)
        if is_as_offered(wanted.partial, wanted.file.size, wanted.file.etag):
            wanted.partial.replace(wanted.target)
            return
        wanted.partial.unlink(missing_ok=True)
        if attempt == 1:
            told(0)
    raise CommandFailed(f"{wanted.target.name} arrived twice with another checksum than the hub told: try later, or another mirror")


def _complete(wanted: Download, told: Told) -> None:
    """As many bytes as offered; up to five times in a row without a new one."""
    if not wanted.file.etag:
        wanted.partial.unlink(missing_ok=True)
    failures = 0
    while True:
        before = _size(wanted.partial)
        try:
            _go_on(wanted, told)
        except (httpx2.TransportError, Changed) as error:
            failures = 1 if _size(wanted.partial) > before else failures + 1
            if failures >= TRIES:
                raise _give_up(wanted, error) from error
            time.sleep(_FIRST_DELAY_SECONDS * 2**failures * random.uniform(0.5, 1.0))  # noqa: S311 (jitter)
        else:
            return


def _give_up(wanted: Download, error: Exception) -> Exception:
    if isinstance(error, Changed):
        return CommandFailed(f"{wanted.target.name}: {error}; run the command again")
    return error


def _go_on(wanted: Download, told: Told) -> None:
    from huggingface_hub import get_session
    from huggingface_hub.utils import hf_raise_for_status

    start = _size(wanted.partial)
    if start == wanted.file.size and start:
        return
    if start > wanted.file.size:
        wanted.partial.unlink()
        start = 0
    headers = wanted.headers | ({"range": f"bytes={start}-"} if start else {})
    with get_session().stream("GET", wanted.url, headers=headers, timeout=_TIMEOUT, follow_redirects=True) as response:
        if response.status_code in _BUSY:
            raise httpx2.RemoteProtocolError(f"it answered {response.status_code}")
        if response.status_code == httpx2.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            wanted.partial.unlink(missing_ok=True)
            raise Changed("the server has no such part of it")
        hf_raise_for_status(response)
        _check_etags(wanted, response)
        continues = response.status_code == httpx2.codes.PARTIAL_CONTENT and _range_start(response) == start
        with wanted.partial.open("ab" if continues else "wb") as file:
            _write(wanted, response, file, start if continues else 0, told)


def _check_etags(wanted: Download, response: httpx2.Response) -> None:
    """The hub names the content on its first answer, which may be a redirect to a store with names of its own. Raises Changed."""
    first = response.history[0] if response.history else response
    told = first.headers.get("x-linked-etag") or (None if response.history else first.headers.get("etag"))
    etag = (told or "").removeprefix("W/").strip('"')
    if wanted.file.etag and len(etag) in _DIGEST_LENGTHS and etag != wanted.file.etag:
        raise Changed("the hub has another version of it by now")


def _write(wanted: Download, response: httpx2.Response, file: BinaryIO, start: int, told: Told) -> None:
    there = start
    told(there)
    # As it comes: a chunk size would keep back, and lose, up to a chunk of a connection that breaks.
    for chunk in response.iter_bytes():
        there += len(chunk)
        if there > wanted.file.size:
            raise Changed("the server sends more than was offered")
        file.write(chunk)
        told(there)
    if there < wanted.file.size:
        raise httpx2.RemoteProtocolError("the connection ended in the middle")


def _range_start(response: httpx2.Response) -> int:
    """-1 where the server does not say."""
    text = response.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
    return int(text) if text.isdigit() else -1


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
