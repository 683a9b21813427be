"""A recording with artefacts: sentences, pauses and room tone, and where in them what was put."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tools.detection.artifacts import Floats, add_click, add_clipping, add_dropout, add_hum
from tools.speech.audio import SAMPLE_RATE_HZ

ARTIFACT_TYPES = ("click", "clipping", "dropout", "hum", "long_pause")

TRUE_PITCH = (1.0, 1.0)
VARIED_PITCH = (0.7, 1.4)

_SHORT_PAUSE_SECONDS = (0.1, 0.7)
_LONG_PAUSE_SECONDS = (1.6, 4.0)
_LONG_PAUSE_SHARE = 0.25
_SENTENCE_DBFS = (-32.0, -17.0)
_TONE_DBFS = (-75.0, -48.0)
_DISTANCE_SECONDS = 0.45
_EVENTS_PER_MINUTE = 6.0
_TRIES = 20
_LABEL_MS = 20


@dataclass(frozen=True, slots=True)
class Label:
    """One artefact, [start_ms, end_ms)."""

    artifact_type: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Recording:
    """Samples, 16 kHz mono int16, and what is wrong with them, by start."""

    pcm: NDArray[np.int16]
    labels: Sequence[Label]


def record(carriers: Sequence[Floats], seconds: float, seed: int, pitch: tuple[float, float] = TRUE_PITCH) -> Recording:
    """One recording of so many seconds: the same for the same arguments. pitch: the range of factors from which each sentence has one."""
    making = _Making(np.random.default_rng(seed), pitch)
    making.speak(carriers, round(seconds * SAMPLE_RATE_HZ))
    making.spoil(max(1, round(_EVENTS_PER_MINUTE * seconds / 60)))
    return making.finished()


class _Making:
    """A recording under way. Changes that tell of each other by sound keep a distance; hum may lie under everything."""

    def __init__(self, random: Generator, pitch: tuple[float, float]) -> None:
        self._random, self._pitch = random, pitch
        self._sound: Floats = np.zeros(0, np.float32)
        self._labels: list[Label] = []
        self._spoken: list[tuple[int, int]] = []
        self._taken: list[tuple[int, int]] = []

    def speak(self, carriers: Sequence[Floats], samples: int) -> None:
        """Sentences at levels of their own, pauses between them, room tone under all."""
        parts: list[Floats] = []
        position = 0
        while position < samples:
            pause, sentence = self._pause(position), self._sentence(carriers)
            self._spoken.append((position + len(pause), position + len(pause) + len(sentence)))
            parts += [pause, sentence]
            position += len(pause) + len(sentence)
        self._sound = np.concatenate(parts)[:samples]
        self._labels = [label for label in self._labels if label.end_ms <= samples * 1_000 // SAMPLE_RATE_HZ]
        tone = 10 ** (self._random.uniform(*_TONE_DBFS) / 20)
        self._sound += self._random.normal(0.0, tone, samples).astype(np.float32)

    def spoil(self, events: int) -> None:
        """So many of each type that is put in; clipping first, so that the others lie on top of it."""
        for put in (self._clip, self._hum, self._click, self._drop):
            for _ in range(events):
                put()

    def finished(self) -> Recording:
        """The sound as samples."""
        pcm = np.clip(np.round(self._sound * 32_767), -32_768, 32_767).astype(np.int16)
        return Recording(pcm, sorted(self._labels, key=lambda label: (label.start_ms, label.artifact_type)))

    def _pause(self, position: int) -> Floats:
        is_long = position > 0 and self._random.random() < _LONG_PAUSE_SHARE
        length = round(self._random.uniform(*(_LONG_PAUSE_SECONDS if is_long else _SHORT_PAUSE_SECONDS)) * SAMPLE_RATE_HZ)
        if is_long:
            self._label("long_pause", position, position + length)
            self._taken.append((position, position + length))
        return np.zeros(length, np.float32)

    def _sentence(self, carriers: Sequence[Floats]) -> Floats:
        said = _at_pitch(carriers[int(self._random.integers(len(carriers)))], self._random.uniform(*self._pitch))
        loudness = 10 ** (self._random.uniform(*_SENTENCE_DBFS) / 20)
        levelled: Floats = said * np.float32(loudness / np.sqrt(np.mean(np.square(said))))
        return np.clip(levelled, -1.0, 1.0)

    def _clip(self) -> None:
        if (place := self._place_in_speech(0.3, 1.5)) and (clipped := add_clipping(self._sound, *place, self._random)):
            self._label("clipping", *clipped)

    def _hum(self) -> None:
        length = round(self._random.uniform(0.8, 4.0) * SAMPLE_RATE_HZ)
        start = self._free_start(length, lambda start: not self._near(start, start + length, self._spans_of("hum")))
        if start is not None:
            add_hum(self._sound, start, length, self._random)
            self._label("hum", start, start + length)

    def _click(self) -> None:
        length = SAMPLE_RATE_HZ // 100
        start = self._free_start(length, lambda start: not self._near(start, start + length, self._taken))
        if start is not None:
            self._taken.append((start, start + length))
            self._label("click", start, add_click(self._sound, start, self._random))

    def _drop(self) -> None:
        if place := self._place_in_speech(0.04, 0.25):
            add_dropout(self._sound, *place)
            self._label("dropout", place[0], place[0] + place[1])

    def _place_in_speech(self, shortest_seconds: float, longest_seconds: float) -> tuple[int, int] | None:
        """Start and length of a free span inside a sentence."""
        length = round(self._random.uniform(shortest_seconds, longest_seconds) * SAMPLE_RATE_HZ)
        start = self._free_start(
            length, lambda start: self._is_spoken(start, start + length) and not self._near(start, start + length, self._taken)
        )
        if start is None:
            return None
        self._taken.append((start, start + length))
        return start, length

    def _free_start(self, length: int, is_fit: Callable[[int], bool]) -> int | None:
        """A random start that fits, None when none of some tries does."""
        starts = (int(self._random.integers(0, max(1, len(self._sound) - length))) for _ in range(_TRIES))
        return next((start for start in starts if is_fit(start)), None)

    def _is_spoken(self, start: int, end: int) -> bool:
        return any(first <= start and end <= last for first, last in self._spoken)

    def _near(self, start: int, end: int, spans: Sequence[tuple[int, int]]) -> bool:
        distance = round(_DISTANCE_SECONDS * SAMPLE_RATE_HZ)
        return any(start < last + distance and first - distance < end for first, last in spans)

    def _spans_of(self, artifact_type: str) -> list[tuple[int, int]]:
        per_ms = SAMPLE_RATE_HZ // 1_000
        return [(label.start_ms * per_ms, label.end_ms * per_ms) for label in self._labels if label.artifact_type == artifact_type]

    def _label(self, artifact_type: str, start: int, end: int) -> None:
        per_ms = SAMPLE_RATE_HZ // 1_000
        start_ms = start // per_ms
        self._labels.append(Label(artifact_type, start_ms, max(start_ms + _LABEL_MS, -(-end // per_ms))))


def _at_pitch(sound: Floats, pitch: float) -> Floats:
    """Played faster or slower, as another speaker of the kind would sound."""
    if pitch == 1.0:
        return sound
    return np.asarray(np.interp(np.arange(0, len(sound) - 1, pitch), np.arange(len(sound)), sound), np.float32)
