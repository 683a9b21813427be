"""The port between the pipeline and whatever runs the models."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from services.inference.models.vad_state import VadState
from services.inference.pcm import Features, Floats, Pcm
from services.inference.transcript import WindowResult


class EngineFailed(Exception):
    """The engine could not do what was asked, and asking again at once will not help."""


class WindowFailed(EngineFailed):
    """A window was tried to its limit; the transcript has a gap there."""


class LanguageUnsupported(EngineFailed):
    """The engine does not know the language that was asked for."""


@dataclass(frozen=True, slots=True)
class WindowParameters:
    """What the caller wants of a window.

    language: ISO 639-1, None to let the engine find out. prompt: words and phrases that help to spell, see `prepare_prompt`.
    translate: into English. temperature: to start sampling from, 0 to 1; None is the engine's own. priority: 0 before 1 before 2,
    where an engine has a queue of its own. hotwords: names and terms, the most important first.
    """

    language: str | None = None
    prompt: str = ""
    translate: bool = False
    temperature: float | None = None
    priority: int = 0
    hotwords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredDetector:
    """A trained detector on this machine. path: of its ONNX file, whose content never changes."""

    id: str
    path: Path


@dataclass(frozen=True, slots=True)
class DetectorScores:
    """What a detector says of frames. scores: (frames, types) float32 in 0..1, a column per type."""

    artifact_types: tuple[str, ...]
    scores: Floats


class Engine(Protocol):
    """Speech models behind one door; every call may run beside others and may be cancelled."""

    @property
    def name(self) -> str:
        """Where it runs, for logs and readiness: `local`, `triton`."""

    @property
    def model(self) -> str:
        """The recogniser that every job and transcript names."""

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1 codes it transcribes."""

    @property
    def production(self) -> bool:
        """Whether the recogniser is fit for real recordings: neither the demo one nor one for tests."""

    @property
    def test(self) -> bool:
        """Whether the recogniser was made for tests and is of no use for real speech."""

    @property
    def precision(self) -> str:
        """Form of its weights; empty where there is no choice."""

    @property
    def translates(self) -> bool:
        """Whether it can translate its languages into English."""

    @property
    def max_window_seconds(self) -> float:
        """The longest window to plan."""

    @property
    def punctuates(self) -> bool:
        """Whether its words carry capitals and punctuation."""

    @property
    def windows_in_flight(self) -> int:
        """How many windows are worth having under way at once, all jobs together; at least 1, and it may change."""

    def on_capacity(self, changed: Callable[[], None]) -> None:
        """Call this whenever `windows_in_flight` changed."""

    async def transcribe_window(self, pcm: Pcm, parameters: WindowParameters) -> WindowResult:
        """Words of one window.

        Raises LanguageUnsupported, or WindowFailed after the engine's own retries.
        """

    async def speech_probabilities(self, pcm: Pcm, state: VadState) -> tuple[Floats, VadState]:
        """Probability of speech per 32 ms, see `SileroVad`. Raises EngineFailed."""

    async def embed(self, pcm: Pcm, spans: Sequence[tuple[int, int]], gain: float) -> Floats:
        """(spans, 256) speaker embeddings, see `SpeakerEncoder`. Raises EngineFailed."""

    async def detect(self, detector: StoredDetector, features: Features) -> DetectorScores:
        """A detector's scores of features, (frames, FEATURE_COUNT) float16. Raises EngineFailed."""

    async def check(self) -> None:
        """Return when the engine answers. Raises EngineFailed when it does not."""
