"""Worker processes that run models beside the event loop, and survive being killed."""

import asyncio
import os
import pickle
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.inference.engines.engine import EngineFailed
from services.inference.engines.messages import LENGTH, encode
from services.mesh import semconv

SOURCE_ROOT = Path(__file__).parents[3]
WORKER_MODULE = "services.inference.engines.worker"
ATTEMPTS = 3
CALL_TIMEOUT_SECONDS = 300.0
END_TIMEOUT_SECONDS = 5.0
RETRY_DELAY_SECONDS = 0.2
_MODELS = {
    "transcribe": "pocketsphinx",
    "transcribe_whisper": "whisper",
    "speech_probabilities": "vad",
    "embed": "speaker",
    "detect": "detector",
}


class WorkerLost(Exception):
    """The process ended, or did not answer in time, with a call in hand."""


class Worker:
    """One process and the call it has in hand."""

    def __init__(self, process: asyncio.subprocess.Process, timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> None:
        self._process = process
        self._timeout_seconds = timeout_seconds

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    async def call(self, name: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        """Send one call and read its reply. Raises WorkerLost."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise WorkerLost("the process has no pipes")
        try:
            async with asyncio.timeout(self._timeout_seconds):
                stdin.write(encode((name, arguments)))
                await stdin.drain()
                (length,) = LENGTH.unpack(await stdout.readexactly(LENGTH.size))
                reply: tuple[bool, Any] = pickle.loads(await stdout.readexactly(length))  # noqa: S301 (our own process wrote it)
                return reply
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError) as error:
            raise WorkerLost(f"process {self.pid}: {type(error).__name__}") from error

    async def end(self) -> None:
        """Kill the process and reap it."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
        async with asyncio.timeout(END_TIMEOUT_SECONDS):
            await self._process.communicate()


@dataclass(slots=True)
class Slot:
    """Room for one process; empty until its first call and after a loss."""

    worker: Worker | None = None


class WorkerPool:
    """As many slots as processes may run; a call takes one, waits for its reply and gives it back."""

    def __init__(self, workers: int, call_timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> None:
        self._call_timeout_seconds = call_timeout_seconds
        self._slots = [Slot() for _ in range(workers)]
        self._free: asyncio.LifoQueue[Slot] = asyncio.LifoQueue(maxsize=workers)
        for slot in self._slots:
            self._free.put_nowait(slot)

    @property
    def size(self) -> int:
        """How many processes may run."""
        return len(self._slots)

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of the processes that run now."""
        return tuple(slot.worker.pid for slot in self._slots if slot.worker)

    @property
    def busy(self) -> bool:
        """Whether a call would have to wait."""
        return self._free.empty()

    async def call(self, name: str, *arguments: Any) -> Any:
        """Run one call in some process; a process lost on the way is replaced, three times at most.

        Waits for a free slot as long as the caller does. Cancelling kills the process, for a model cannot
        be interrupted, and frees the slot. Raises EngineFailed when the model raised or the tries are spent.
        """
        for attempt in range(1, ATTEMPTS + 1):
            slot = await self._free.get()
            try:
                succeeded, result = await self._call_in(slot, name, arguments)
            except WorkerLost as error:
                if attempt == ATTEMPTS:
                    raise EngineFailed(f"{name}: {attempt} processes lost") from error
                await asyncio.sleep(RETRY_DELAY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 (jitter)
                continue
            finally:
                self._free.put_nowait(slot)
            if not succeeded:
                raise EngineFailed(f"{name}: {result}")
            if name in _MODELS:
                # Here every request is a batch of its own.
                semconv.BATCH_SIZE.labels(_MODELS[name]).observe(1)
            return result
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _call_in(self, slot: Slot, name: str, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        try:
            if slot.worker is None:
                slot.worker = await start_worker(self._call_timeout_seconds)
            return await slot.worker.call(name, arguments)
        except BaseException:
            # Half a message may be in the pipes: the process is of no more use.
            await self._empty(slot)
            raise

    async def _empty(self, slot: Slot) -> None:
        worker, slot.worker = slot.worker, None
        if worker is not None:
            await worker.end()

    async def close(self) -> None:
        """End every process."""
        for slot in self._slots:
            await self._empty(slot)


async def start_worker(call_timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> Worker:
    """A fresh interpreter: forking one with threads and open connections is not safe."""
    paths = [str(SOURCE_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        WORKER_MODULE,
        str(os.getpid()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    return Worker(process, call_timeout_seconds)


@asynccontextmanager
async def open_worker_pool(workers: int, call_timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> AsyncIterator[WorkerPool]:
    """A pool whose processes end with the block."""
    pool = WorkerPool(workers, call_timeout_seconds)
    try:
        yield pool
    finally:
        await pool.close()
