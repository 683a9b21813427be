"""What EmbedSpeaker does: a short recording to the embedding of the voice in it."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from services.inference.audio import Audio
from services.inference.diarization.spans import embedding_spans
from services.inference.domain import BrokenMedia, MediaTooLarge, MediaTooLong, NoSpeech, UnsupportedMedia
from services.inference.engines.engine import Engine, EngineFailed
from services.inference.models.vad_state import VadState, gain_for
from services.inference.pcm import Floats, loud_level_dbfs
from services.inference.speakers import centroid, embed_spans
from services.inference.windows import Region, find_regions
from services.media import errors as media
from services.media.decode import decode
from services.media.sandbox import Sandbox
from services.mesh.errors import MeshError, Overloaded, ServiceUnavailable

MAX_MEDIA_BYTES = 3 * 1024 * 1024
MAX_DURATION_MS = 30_000
SHORTEST_MS = 1_000
SHORTEST_SPEECH_MS = 500


@dataclass(frozen=True)
class Voice:
    """A voice. embedding: (256,) float32 of length 1; duration_ms: of the recording."""

    embedding: Floats
    duration_ms: int


@dataclass
class VoiceSlots:
    """Room for recordings that are described at once; `most_waiting` more may wait for it."""

    most_at_once: int
    most_waiting: int
    _asked: int = 0
    _slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.most_at_once)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Hold a place. Raises Overloaded when too many wait."""
        if self._asked >= self.most_at_once + self.most_waiting:
            raise Overloaded("Too many voices are being described; try again soon.")
        self._asked += 1
        try:
            async with self._slots:
                yield
        finally:
            self._asked -= 1


@dataclass(frozen=True)
class Voices:
    """Describes voices with an engine of its own, so that no window of a job is waited for."""

    engine: Engine
    sandbox: Sandbox
    scratch: Path
    slots: VoiceSlots

    async def describe(self, recording: bytes) -> Voice:
        """The voice in a recording of 1 to 30 seconds.

        Raises UnsupportedMedia, BrokenMedia, MediaTooLong, MediaTooLarge, NoSpeech, Overloaded, or ServiceUnavailable.
        """
        if len(recording) > MAX_MEDIA_BYTES:
            raise MediaTooLarge(max_size_bytes=str(MAX_MEDIA_BYTES))
        async with self.slots.take():
            audio = await self._decoded(recording)
            try:
                return await self._heard(audio)
            except EngineFailed as error:
                raise ServiceUnavailable("The speaker model failed.") from error

    async def _decoded(self, recording: bytes) -> Audio:
        with tempfile.TemporaryFile(dir=self.scratch) as source, tempfile.TemporaryFile(dir=self.scratch) as pcm:
            await asyncio.to_thread(_fill, source, recording)
            try:
                decoded = await decode(self.sandbox, source.fileno(), pcm.fileno(), MAX_DURATION_MS)
            except (media.MediaError, media.SandboxUnavailable) as error:
                raise _translated(error) from error
            pcm.seek(0)
            samples = np.frombuffer(await asyncio.to_thread(pcm.read), "<i2").astype(np.int16)
        return Audio(samples[: decoded.samples], decoded.duration_ms, decoded.truncated)

    async def _heard(self, audio: Audio) -> Voice:
        regions = await self._speech(audio)
        if audio.duration_ms < SHORTEST_MS or sum(region.duration_ms for region in regions) < SHORTEST_SPEECH_MS:
            raise NoSpeech
        spans = embedding_spans(regions, audio.duration_ms)
        rows = await embed_spans(self.engine, audio, regions, spans, lambda done_ms: None)
        return Voice(centroid(rows), audio.duration_ms)

    async def _speech(self, audio: Audio) -> Sequence[Region]:
        state = VadState(gain=gain_for(loud_level_dbfs(audio.samples)))
        probabilities, _ = await self.engine.speech_probabilities(audio.samples, state)
        return find_regions(probabilities, audio.duration_ms)


def _fill(file: IO[bytes], body: bytes) -> None:
    file.write(body)
    file.flush()
    file.seek(0)


def _translated(error: media.MediaError | media.SandboxUnavailable) -> MeshError:
    match error:
        case media.EmptyMedia() | media.UnsupportedMedia():
            return UnsupportedMedia()
        case media.MediaTooLong():
            return MediaTooLong(max_duration_ms=str(MAX_DURATION_MS))
        case media.SandboxUnavailable() | media.SandboxKilled(reason="server" | "timeout") | media.TaskFailed():
            return ServiceUnavailable("The media sandbox failed.")
        case _:
            return BrokenMedia()
