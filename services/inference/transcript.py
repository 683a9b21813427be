"""The plain shapes that pass between the models, the alignment and the pipeline. Times are integer ms."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count


@dataclass(frozen=True, slots=True)
class Word:
    """One spoken word.

    probability: 0 to 1, None where the engine has none. speaker: index of the turn's speaker.
    overlap: somebody else speaks at the same time.
    """

    text: str
    start_ms: int
    end_ms: int
    probability: float | None = None
    speaker: int | None = None
    overlap: bool = False


class Verdict(StrEnum):
    """accepted; doubtful: another temperature may help; repetitive: doubtful, and the text is a loop; silent: nobody speaks."""

    ACCEPTED = "accepted"
    DOUBTFUL = "doubtful"
    REPETITIVE = "repetitive"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What an engine says about one window; word times count from the window's start.

    None means that the engine does not know: average_log_probability is per token, no_speech_probability
    and compression_ratio are Whisper's, language is an ISO 639-1 code, temperature is the one that it was sampled with, verdict is
    on the last try. language_probabilities: of the likeliest languages by their codes, 0 to 1; empty where none was looked for.
    """

    text: str
    words: tuple[Word, ...] = ()
    language: str | None = None
    average_log_probability: float | None = None
    no_speech_probability: float | None = None
    compression_ratio: float | None = None
    temperature: float | None = None
    verdict: Verdict | None = None
    language_probabilities: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of file time in which one speaker talks; turns of different speakers may overlap."""

    start_ms: int
    end_ms: int
    speaker: int

    @property
    def label(self) -> str:
        """The speaker's public name, numbered by first appearance."""
        return speaker_label(self.speaker)


@dataclass(frozen=True, slots=True)
class Segment:
    """Words of one speaker without a long pause."""

    start_ms: int
    end_ms: int
    text: str
    words: tuple[Word, ...] = field(default=())
    speaker: int | None = None

    @property
    def overlap(self) -> bool:
        """Whether somebody else speaks during any of its words."""
        return any(word.overlap for word in self.words)


def speaker_label(speaker: int) -> str:
    """The public name of a speaker index."""
    return f"SPEAKER_{speaker:02d}"


def speaker_labels(speakers: Iterable[int], names: Mapping[int, str]) -> dict[int, str]:
    """The public name of every speaker index: its own, else the next SPEAKER_NN that is nobody's name."""
    taken = set(names.values())
    free = (label for label in map(speaker_label, count()) if label not in taken)
    return {speaker: names[speaker] if speaker in names else next(free) for speaker in sorted(speakers)}
