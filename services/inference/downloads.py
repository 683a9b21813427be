"""Files from storage to the scratch disk: whole or not at all, of bounded length."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import httpx2

from services.mesh.ids import new_id

_PIECE_BYTES = 256 * 1024
_START_SECONDS = 60.0
_BYTES_PER_SECOND = 256 * 1024
_IDENTITY = {"accept-encoding": "identity"}


class DownloadTooLarge(Exception):
    """There are more bytes than what was asked for can have."""


async def download(client: httpx2.AsyncClient, url: str, target: Path, most_bytes: int) -> None:
    """GET into the file, which is there only when it is whole. Raises DownloadTooLarge, httpx2.HTTPError, TimeoutError, OSError."""
    async with _part(target) as file:
        await _receive(client, url, file, most_bytes)


@asynccontextmanager
async def _part(target: Path) -> AsyncIterator[IO[bytes]]:
    part = target.with_name(f".{target.name}.{new_id()}")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


async def _receive(client: httpx2.AsyncClient, url: str, file: IO[bytes], most_bytes: int) -> None:
    received, patience_ends = 0, asyncio.get_running_loop().time() + _START_SECONDS
    async with asyncio.timeout_at(patience_ends) as deadline, client.stream("GET", url, headers=_IDENTITY) as response:
        response.raise_for_status()
        async for piece in response.aiter_raw(_PIECE_BYTES):
            received += len(piece)
            if received > most_bytes:
                raise DownloadTooLarge(f"more than {most_bytes} bytes")
            await asyncio.to_thread(file.write, piece)
            # A limit on silence alone lets a sender drip for ever.
            deadline.reschedule(patience_ends + received / _BYTES_PER_SECOND)
    await asyncio.to_thread(os.fsync, file.fileno())
