"""Short recordings that come within a call: from their bytes to 16 kHz samples on the scratch disk."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from services.inference.audio import Audio, mapped
from services.inference.domain import BrokenMedia, MediaTooLarge, MediaTooLong, UnsupportedMedia
from services.media import errors as media
from services.media.decode import decode
from services.media.sandbox import OnProgress, Sandbox
from services.mesh.errors import MeshError, ServiceUnavailable

MAX_RECORDING_BYTES = 3 * 1024 * 1024


@asynccontextmanager
async def open_recording(
    recording: bytes, sandbox: Sandbox, scratch: Path, max_duration_ms: int, on_progress: OnProgress | None = None
) -> AsyncIterator[Audio]:
    """Decode; on_progress gets the milliseconds decoded so far.

    Raises UnsupportedMedia, BrokenMedia, MediaTooLong, MediaTooLarge, ServiceUnavailable.
    """
    if len(recording) > MAX_RECORDING_BYTES:
        raise MediaTooLarge(max_size_bytes=str(MAX_RECORDING_BYTES))
    with tempfile.TemporaryFile(dir=scratch) as pcm_file:
        with tempfile.TemporaryFile(dir=scratch) as source:
            await asyncio.to_thread(_fill, source, recording)
            try:
                decoded = await decode(sandbox, source.fileno(), pcm_file.fileno(), max_duration_ms, on_progress)
            except (media.MediaError, media.SandboxUnavailable) as error:
                raise _translated(error, max_duration_ms) from error
        with mapped(pcm_file, decoded) as audio:
            yield audio


def _fill(file: IO[bytes], body: bytes) -> None:
    file.write(body)
    file.flush()
    file.seek(0)


def _translated(error: media.MediaError | media.SandboxUnavailable, max_duration_ms: int) -> MeshError:
    match error:
        case media.EmptyMedia() | media.UnsupportedMedia():
            return UnsupportedMedia()
        case media.MediaTooLong():
            return MediaTooLong(max_duration_ms=str(max_duration_ms))
        case media.SandboxUnavailable() | media.SandboxKilled(reason="server" | "timeout") | media.TaskFailed():
            return ServiceUnavailable("The media sandbox failed.")
        case _:
            return BrokenMedia()
