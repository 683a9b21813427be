"""What EmbedSpeaker does: a short recording to the embedding of the voice in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from services.inference.audio import Audio
from services.inference.diarization.spans import embedding_spans
from services.inference.domain import NoSpeech
from services.inference.engines.engine import Engine, EngineFailed
from services.inference.models.vad_state import VadState, gain_for
from services.inference.pcm import Floats, loud_level_dbfs
from services.inference.recordings import open_recording
from services.inference.slots import Slots
from services.inference.speakers import centroid, embed_spans
from services.inference.windows import Region, find_regions
from services.media.sandbox import Sandbox
from services.mesh.errors import ServiceUnavailable

MAX_DURATION_MS = 30_000
SHORTEST_MS = 1_000
SHORTEST_SPEECH_MS = 500


@dataclass(frozen=True)
class Voice:
    """A voice. embedding: (256,) float32 of length 1; duration_ms: of the recording."""

    embedding: Floats
    duration_ms: int


@dataclass(frozen=True)
class Voices:
    """Describes voices with an engine of its own, so that no window of a job is waited for."""

    engine: Engine
    sandbox: Sandbox
    scratch: Path
    slots: Slots

    async def describe(self, recording: bytes) -> Voice:
        """The voice in a recording of 1 to 30 seconds.

        Raises UnsupportedMedia, BrokenMedia, MediaTooLong, MediaTooLarge, NoSpeech, Overloaded, or ServiceUnavailable.
        """
        async with self.slots.take(), open_recording(recording, self.sandbox, self.scratch, MAX_DURATION_MS) as audio:
            try:
                return await self._heard(audio)
            except EngineFailed as error:
                raise ServiceUnavailable("The speaker model failed.") from error

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
