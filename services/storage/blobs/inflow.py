"""The way of bytes from a socket into a blob: hashed and written in a thread, a few pieces behind."""

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager

from services.mesh.errors import MeshError
from services.mesh.telemetry import get_logger
from services.storage.blobs.blobs import PIECE_BYTES, BlobWriter
from services.storage.domain import Receipt

_PIECES_BEHIND = 4
_LEAST_PIECE_BYTES = 64 * 1024


class Inflow:
    """One blob being received. Made by `open_inflow`."""

    def __init__(self, writer: BlobWriter, thread: ThreadPoolExecutor) -> None:
        self._writer = writer
        self._thread = thread
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._behind: deque[asyncio.Future[None]] = deque()

    async def write(self, piece: bytes) -> None:
        """Hand a piece to the thread; waits while the thread is too far behind. Raises what writing raised."""
        while len(self._behind) >= _PIECES_BEHIND:
            await self._behind.popleft()
        self._behind.append(asyncio.get_running_loop().run_in_executor(self._thread, self._take, piece))

    async def publish(self, key: str) -> Receipt:
        """Wait for the thread, make the blob durable and visible, and say what it is."""
        while self._behind:
            await self._behind.popleft()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.publish)
        return Receipt(key, self._size_bytes, self._hash.hexdigest())

    async def close(self) -> None:
        """Leave nothing, unless published."""
        await asyncio.gather(*self._behind, return_exceptions=True)
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.discard)
        except MeshError as error:
            get_logger("storage.inflow").warning("remnant left to the janitor", exc_info=error)

    def _take(self, piece: bytes) -> None:
        self._hash.update(piece)
        self._writer.write(piece)
        self._size_bytes += len(piece)


@asynccontextmanager
async def open_inflow(open_writer: Callable[[], BlobWriter]) -> AsyncIterator[Inflow]:
    """A blob to receive; left without `publish`, nothing of it stays."""
    thread = ThreadPoolExecutor(1, thread_name_prefix="inflow")
    try:
        writer = await _open(open_writer, thread)
        inflow = Inflow(writer, thread)
        try:
            yield inflow
        finally:
            await asyncio.shield(inflow.close())
    finally:
        thread.shutdown(wait=False)


async def _open(open_writer: Callable[[], BlobWriter], thread: ThreadPoolExecutor) -> BlobWriter:
    """The writer. A thread cannot be cancelled: what it opens for nobody is discarded."""
    opening = asyncio.get_running_loop().run_in_executor(thread, open_writer)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])
        if opening.exception() is None:
            await asyncio.get_running_loop().run_in_executor(thread, opening.result().discard)
        raise


async def gathered(parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces of 64 to 512 KB, the last one as it comes: each piece costs a turn of a thread. Closes the parts."""
    buffer = bytearray()
    async with aclosing(parts):
        async for part in parts:
            if not buffer and len(part) >= _LEAST_PIECE_BYTES:
                yield part
                continue
            buffer += part
            if len(buffer) >= PIECE_BYTES:
                yield bytes(buffer)
                buffer.clear()
    if buffer:
        yield bytes(buffer)
