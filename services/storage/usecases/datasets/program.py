"""A child process that does heavy work and does not outlive it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

_KEPT_VARIABLES = ("PATH", "PYTHONPATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH")
_NICENESS = 10
_LAST_WORDS_BYTES = 2000


class ProgramFailed(Exception):
    """The program did not end well; its last words."""


async def run_program(command: Sequence[str], seconds: float) -> None:
    """Run it to its end, with low priority and without this process's secrets. Raises ProgramFailed, OSError."""
    async with _child(command) as child:
        assert child.stderr is not None  # noqa: S101
        try:
            async with asyncio.timeout(seconds):
                words = await _last_words(child.stderr)
                status = await child.wait()
        except TimeoutError as error:
            raise ProgramFailed(f"not done after {seconds:g} seconds") from error
    if status != 0:
        raise ProgramFailed(f"status {status}: {words}")


async def _last_words(errors: asyncio.StreamReader) -> str:
    tail = b""
    while piece := await errors.read(_LAST_WORDS_BYTES):
        tail = (tail + piece)[-_LAST_WORDS_BYTES:]
    return tail.decode(errors="replace").strip().rpartition("\n")[2]


@asynccontextmanager
async def _child(command: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process group that ends with the block."""
    nothing = asyncio.subprocess.DEVNULL
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=nothing,
        stdout=nothing,
        stderr=asyncio.subprocess.PIPE,
        env={**environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,
    )
    try:
        with suppress(ProcessLookupError, PermissionError):
            os.setpriority(os.PRIO_PROCESS, child.pid, _NICENESS)
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
