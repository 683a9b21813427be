"""The process that trains: started, listened to, killed with all it started."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from services.inference.domain import TrainerDied
from services.inference.trainer.reports import EpochDone, Report, TrainingEnded, read_report

SOURCE_ROOT = Path(__file__).parents[3]
LAUNCHER = "services.inference.trainer.launch"
MODULE = "services.inference.training"
LOG = "trainer.log"
LONGEST_LINE_BYTES = 1024 * 1024
MOST_REPORTS = 256
_END_SECONDS = 10.0
_TAIL_BYTES = 4_000


@dataclass(frozen=True)
class TrainerProgram:
    """What trains. command: its last argument will be the folder. silence_seconds: how long it may say nothing."""

    command: Sequence[str] = (sys.executable, "-m", MODULE)
    silence_seconds: float = 3_600.0


@dataclass
class TrainerChild:
    """A training under way in a folder. `reports` ends with a TrainingDone or a TrainingEnded."""

    folder: Path
    silence_seconds: float
    process: asyncio.subprocess.Process
    reports: asyncio.Queue[Report] = field(default_factory=lambda: asyncio.Queue(MOST_REPORTS))

    async def listen(self) -> None:
        """Fill `reports` until the last."""
        try:
            while not await self._hear():
                pass
        except Exception as error:  # whatever it is, somebody waits for a last report
            await self.reports.put(TrainingEnded(error))

    async def _hear(self) -> bool:
        """One line; True after the last report. Raises TrainerDied."""
        report = read_report(await self._line())
        if report is None:
            return False
        await self.reports.put(report)
        return not isinstance(report, EpochDone)

    async def _line(self) -> bytes:
        if self.process.stdout is None:
            raise TrainerDied("The trainer has no output.")
        try:
            async with asyncio.timeout(self.silence_seconds):
                line = await self.process.stdout.readline()
        except TimeoutError as error:
            raise TrainerDied(f"The trainer said nothing for {self.silence_seconds:g} s.") from error
        if not line:
            raise TrainerDied(f"The trainer ended with status {await self._status()}.")
        return line

    async def _status(self) -> int:
        async with asyncio.timeout(_END_SECONDS):
            return await self.process.wait()

    async def end(self) -> None:
        """Kill it and all it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        async with asyncio.timeout(_END_SECONDS):
            await self.process.communicate()

    def last_words(self) -> str:
        """The end of its log."""
        with (self.folder / LOG).open("rb") as log:
            log.seek(max(0, (self.folder / LOG).stat().st_size - _TAIL_BYTES))
            return log.read().decode(errors="replace")


@asynccontextmanager
async def open_trainer(program: TrainerProgram, folder: Path) -> AsyncIterator[TrainerChild]:
    """A process at work in the folder, listened to; killed with the block."""
    child = TrainerChild(folder, program.silence_seconds, await _start(program, folder))
    listening = asyncio.create_task(child.listen(), name=f"trainer {child.process.pid}")
    try:
        yield child
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await child.end()


async def _start(program: TrainerProgram, folder: Path) -> asyncio.subprocess.Process:
    paths = [str(SOURCE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with (folder / LOG).open("ab") as log:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            LAUNCHER,
            str(os.getpid()),
            *program.command,
            str(folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            limit=LONGEST_LINE_BYTES,
            start_new_session=True,
        )
