"""From media in storage to 16 kHz samples on the scratch disk."""

import asyncio
import errno
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx2
import numpy as np

from services.inference.domain import DecoderDied, MediaUnprocessable
from services.inference.pcm import Pcm, cut
from services.media.decode import Decoded, decode
from services.media.errors import MediaError, SandboxKilled, SandboxUnavailable, TaskFailed
from services.media.sandbox import OnProgress, Sandbox
from services.mesh import fault
from services.mesh.errors import ServiceUnavailable
from services.mesh.semconv import Step
from services.mesh.tracing.spans import span

_PIECE_BYTES = 256 * 1024
_SAMPLE_BYTES = 2
_FETCH_START_SECONDS = 60.0
_FETCH_BYTES_PER_SECOND = 256 * 1024
_IDENTITY = {"accept-encoding": "identity"}
_GONE = (404, 410)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_TOO_COSTLY = ("timeout", "cpu", "memory")


@dataclass
class Audio:
    """Decoded audio: samples is (n,) int16 at 16 kHz mono, mapped from disk and gone with the context that opened it.

    A slice kept anywhere keeps the whole file on its disk, even as a variable of a frame that some traceback remembers.
    """

    samples: Pcm
    duration_ms: int
    truncated: bool

    def copy(self, start_ms: int, end_ms: int) -> Pcm:
        """The samples of [start_ms, end_ms) in memory of their own, fewer where the audio ends earlier."""
        return np.array(cut(self.samples, start_ms, end_ms))

    def close(self) -> None:
        """Let go of the file."""
        self.samples = np.zeros(0, np.int16)


@asynccontextmanager
async def open_audio(
    client: httpx2.AsyncClient,
    url: str,
    sandbox: Sandbox,
    scratch: Path,
    max_duration_ms: int,
    on_progress: OnProgress | None = None,
) -> AsyncIterator[Audio]:
    """Fetch and decode; on_progress gets the milliseconds decoded so far.

    Raises MediaUnprocessable, DecoderDied, ServiceUnavailable without a sandbox, OSError when the disk is full, httpx2.HTTPError.
    """
    with tempfile.TemporaryFile(dir=scratch) as pcm_file:
        with tempfile.TemporaryFile(dir=scratch) as source:
            with span(Step.DOWNLOAD):
                await _fetch(client, url, source)
            fault.point("inference.audio.after_fetch")
            with span(Step.DECODE):
                decoded = await _decode(sandbox, source, pcm_file, max_duration_ms, on_progress)
        with mapped(pcm_file, decoded) as audio:
            yield audio


@contextmanager
def mapped(pcm_file: IO[bytes], decoded: Decoded) -> Iterator[Audio]:
    """The samples in the file, until left."""
    audio = Audio(np.memmap(pcm_file, dtype="<i2", mode="r", shape=(decoded.samples,)), decoded.duration_ms, decoded.truncated)
    try:
        yield audio
    finally:
        audio.close()


async def _decode(
    sandbox: Sandbox, source: IO[bytes], pcm_file: IO[bytes], max_duration_ms: int, on_progress: OnProgress | None
) -> Decoded:
    try:
        decoded = await decode(sandbox, source.fileno(), pcm_file.fileno(), max_duration_ms, on_progress)
    except SandboxUnavailable as error:
        raise ServiceUnavailable(f"The media sandbox failed: {error}.") from error
    except MediaError as error:
        raise _translated(error) from error
    if os.fstat(pcm_file.fileno()).st_size < decoded.samples * _SAMPLE_BYTES:
        raise DecoderDied("Reading the audio failed: fewer samples than told.")
    return decoded


def _translated(error: MediaError) -> Exception:
    """Whose fault it is. Only the child sees a disk run full while it writes, and says so as any fault of its function."""
    match error:
        case TaskFailed() if any(f"[Errno {number}]" in error.reason for number in _DISK_FULL):
            return OSError(errno.ENOSPC, "the scratch disk is full")
        case SandboxKilled(reason="server"):
            return ServiceUnavailable("The media sandbox failed.")
        case SandboxKilled() if error.reason in _TOO_COSTLY:
            return MediaUnprocessable(f"Reading the audio took more than is allowed: {error.reason}.")
        case SandboxKilled():
            return DecoderDied(f"Reading the audio failed: {error.reason}.")
        case _:
            return MediaUnprocessable(error.reason)


async def _fetch(client: httpx2.AsyncClient, url: str, target: IO[bytes]) -> None:
    loop, received = asyncio.get_running_loop(), 0
    patience_ends = loop.time() + _FETCH_START_SECONDS
    async with asyncio.timeout_at(patience_ends) as deadline, client.stream("GET", url, headers=_IDENTITY) as response:
        if response.status_code in _GONE:
            raise MediaUnprocessable("The audio is no longer stored.")
        response.raise_for_status()
        async for piece in response.aiter_raw(_PIECE_BYTES):
            await asyncio.to_thread(target.write, piece)
            received += len(piece)
            # A limit on silence alone lets a sender drip for ever.
            deadline.reschedule(patience_ends + received / _FETCH_BYTES_PER_SECOND)
    target.flush()
    os.lseek(target.fileno(), 0, os.SEEK_SET)
