"""What a call has still to send: bounded, so that who reads slowly slows the work and not the memory."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from services.mesh.errors import Overloaded
from steno.inference.v1.inference_service_pb2 import TranscribeResponse

CAPACITY = 16
READER_SECONDS = 60.0
_LEAST_PROGRESS = 0.01


class Outbox:
    """Responses between the work and the call. reader_seconds: how long the work waits for room."""

    def __init__(self, capacity: int = CAPACITY, reader_seconds: float = READER_SECONDS) -> None:
        self._room = asyncio.Semaphore(capacity)
        self._reader_seconds = reader_seconds
        self._queue: asyncio.Queue[TranscribeResponse | None] = asyncio.Queue()
        self._progress = 0.0

    async def put(self, response: TranscribeResponse) -> None:
        """Send next. Raises Overloaded when nothing was read for too long."""
        try:
            async with asyncio.timeout(self._reader_seconds):
                await self._room.acquire()
        except TimeoutError as error:
            raise Overloaded("The caller does not read what it is sent.") from error
        self._queue.put_nowait(response)

    def advance(self, progress: float) -> None:
        """Send progress, 0 to 1, where it has grown and nothing else waits to be read."""
        if progress >= self._progress + _LEAST_PROGRESS and self._queue.empty():
            self._progress = progress
            self._queue.put_nowait(TranscribeResponse(progress=progress))

    def close(self) -> None:
        """Send no more."""
        self._queue.put_nowait(None)

    async def take(self) -> TranscribeResponse | None:
        """What comes next, None at the end."""
        response = await self._queue.get()
        if response is not None and not response.HasField("progress"):
            self._room.release()
        return response


async def stream(work: Callable[[Outbox], Awaitable[None]], outbox: Outbox, name: str) -> AsyncGenerator[TranscribeResponse, None]:
    """What the work puts into its outbox; closing the iterator ends the work. Raises what the work raises."""

    async def run() -> None:
        try:
            await work(outbox)
        finally:
            outbox.close()

    # No TaskGroup around a yield: the failure of the work would cancel whoever reads.
    task = asyncio.create_task(run(), name=name)
    try:
        while (response := await outbox.take()) is not None:
            yield response
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
