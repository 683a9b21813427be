"""From media in storage to 16 kHz samples on the scratch disk."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx2
import numpy as np

from services.inference.domain import MediaUnprocessable
from services.inference.pcm import Pcm
from services.media.decode import Decoded, decode
from services.media.errors import MediaError, SandboxKilled
from services.media.sandbox import Sandbox
from services.mesh.errors import ServiceUnavailable

_PIECE_BYTES = 256 * 1024
_NOT_THE_MEDIAS_FAULT = ("server", "protocol")


@dataclass(frozen=True)
class Audio:
    """Decoded audio: samples is (n,) int16 at 16 kHz mono, mapped from disk and gone with the context that opened it."""

    samples: Pcm
    duration_ms: int
    truncated: bool


@asynccontextmanager
async def open_audio(client: httpx2.AsyncClient, url: str, sandbox: Sandbox, scratch: Path, max_duration_ms: int) -> AsyncIterator[Audio]:
    """Fetch and decode. Raises MediaUnprocessable, OSError when the disk is full, httpx2.HTTPError."""
    with tempfile.TemporaryFile(dir=scratch) as pcm_file:
        with tempfile.TemporaryFile(dir=scratch) as source:
            await _fetch(client, url, source)
            decoded = await _decode(sandbox, source, pcm_file, max_duration_ms)
        samples: Pcm = np.memmap(pcm_file, dtype="<i2", mode="r", shape=(decoded.samples,))
        yield Audio(samples, decoded.duration_ms, decoded.truncated)


async def _decode(sandbox: Sandbox, source: IO[bytes], pcm_file: IO[bytes], max_duration_ms: int) -> Decoded:
    try:
        return await decode(sandbox, source.fileno(), pcm_file.fileno(), max_duration_ms)
    except SandboxKilled as error:
        if error.reason in _NOT_THE_MEDIAS_FAULT:
            raise ServiceUnavailable(f"The media sandbox failed: {error.reason}.") from error
        raise MediaUnprocessable(f"Reading the audio took more than is allowed: {error.reason}.") from error
    except MediaError as error:
        raise MediaUnprocessable(error.reason) from error


async def _fetch(client: httpx2.AsyncClient, url: str, target: IO[bytes]) -> None:
    async with client.stream("GET", url) as response:
        response.raise_for_status()
        async for piece in response.aiter_raw(_PIECE_BYTES):
            await asyncio.to_thread(target.write, piece)
    target.flush()
    os.lseek(target.fileno(), 0, os.SEEK_SET)
