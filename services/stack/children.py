"""One child process of the supervisor: started, watched, restarted, stopped."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from services.mesh.lifecycle import wait_or_stop
from services.mesh.telemetry import get_logger
from services.stack import tether

_FIRST_DELAY_SECONDS = 0.2
LONGEST_RESTART_SECONDS = 5.0
_STEADY_SECONDS = 30.0
_LOG_LIMIT_BYTES = 16 * 1024 * 1024
_TAIL_BYTES = 16_000


@dataclass(frozen=True)
class ChildSpec:
    """A program to keep running.

    stop_seconds: how long it gets after SIGTERM before SIGKILL. tidy: removes what an ended one left. folder: to run in, if not ours.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stop_seconds: float
    tidy: Callable[[], None] = lambda: None
    folder: Path | None = None


@dataclass
class Child:
    """A supervised process; `pid` changes with every restart.

    inherited: descriptors that it keeps open, such as a lock. restart_seconds: the longest wait before it is started again.
    """

    spec: ChildSpec
    log_file: Path
    inherited: Sequence[int] = ()
    restart_seconds: float = LONGEST_RESTART_SECONDS
    starts: int = 0
    process: asyncio.subprocess.Process | None = field(default=None, repr=False)
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        running = self.process is not None and self.process.returncode is None
        return self.process.pid if running and self.process else None

    async def keep_running(self, stopping: asyncio.Event) -> None:
        """Start the program, and start it again with growing delay whenever it ends, until `stopping`."""
        first = delay = min(_FIRST_DELAY_SECONDS, self.restart_seconds)
        while True:
            started = time.monotonic()
            async with self._starting:
                if stopping.is_set():
                    return
                process = await self._start()
            status = await process.wait()
            kill_group(process.pid)
            self.spec.tidy()
            if stopping.is_set():
                return
            delay = first if time.monotonic() - started > _STEADY_SECONDS else delay
            get_logger("stack").warning("child ended, restarting", child=self.spec.name, status=status, seconds=round(delay, 2))
            await wait_or_stop(stopping, delay * random.uniform(0.8, 1.0))  # noqa: S311 (jitter)
            delay = min(self.restart_seconds, delay * 2)

    async def _start(self) -> asyncio.subprocess.Process:
        _trim(self.log_file)
        with self.log_file.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-S",
                tether.__file__,
                str(os.getpid()),
                *self.spec.command,
                env=dict(self.spec.environment),
                cwd=self.spec.folder,
                pass_fds=self.inherited,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.starts += 1
        return self.process

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL to its whole group once its time is up. Set `stopping` before, or it starts again."""
        async with self._starting:
            process = self.process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self.spec.stop_seconds)
        except TimeoutError:
            get_logger("stack").warning("child killed after its grace period", child=self.spec.name)
            kill_group(process.pid)
            await process.wait()

    def tail(self) -> str:
        """The last lines of its log."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as log:
            log.seek(max(0, self.log_file.stat().st_size - _TAIL_BYTES))
            return log.read().decode(errors="replace")


def kill_group(pid: int) -> None:
    """Kill what a child left behind: it led its own process group."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _trim(log_file: Path) -> None:
    if log_file.exists() and log_file.stat().st_size > _LOG_LIMIT_BYTES:
        log_file.replace(log_file.with_suffix(".old.log"))
