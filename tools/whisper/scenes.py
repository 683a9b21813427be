"""Held-out sentences laid one after another, as a recording might hold them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.whisper.corpus import Corpus, Entry
from tools.whisper.mel import FRAMES_PER_SECOND
from tools.whisper.utterance import SAMPLE_RATE_HZ, Span

LEAD_SECONDS = 0.8
PAUSES_SECONDS = (0.3, 1.2)
HISS_RMS = 6.0  # a faint room, 75 dB below full scale


@dataclass(frozen=True)
class Scene:
    """A recording, (samples,) int16 at 16 kHz, and the words in it."""

    samples: NDArray[np.int16]
    words: tuple[Span, ...]


def scenes(corpus: Corpus, entries: Sequence[Entry], seconds: float, seed: int = 0) -> Iterator[Scene]:
    """Recordings of about so many seconds, or of one sentence where one is longer; pauses and hiss are drawn by the seed."""
    chance = np.random.default_rng(seed)
    for group in _grouped(entries, seconds):
        yield _scene(corpus, group, chance)


def _grouped(entries: Sequence[Entry], seconds: float) -> Iterator[list[Entry]]:
    group: list[Entry] = []
    length = LEAD_SECONDS
    for entry in entries:
        group.append(entry)
        length += entry.frames / FRAMES_PER_SECOND + sum(PAUSES_SECONDS) / 2
        if length >= seconds:
            yield group
            group, length = [], LEAD_SECONDS
    if group:
        yield group


def _scene(corpus: Corpus, entries: Sequence[Entry], chance: np.random.Generator) -> Scene:
    parts, words, place = [_silence(LEAD_SECONDS)], list[Span](), LEAD_SECONDS
    for entry in entries:
        pause = _silence(chance.uniform(*PAUSES_SECONDS))
        words += [Span(word.text, word.start + place, word.end + place) for word in entry.words]
        parts += [corpus.waveform(entry), pause]
        place += (len(parts[-2]) + len(pause)) / SAMPLE_RATE_HZ
    sound = np.concatenate([*parts, _silence(LEAD_SECONDS)])
    hiss = chance.normal(0.0, HISS_RMS, len(sound))
    return Scene(np.clip(sound + hiss, -32_768, 32_767).round().astype(np.int16), tuple(words))


def _silence(seconds: float) -> NDArray[np.int16]:
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), np.int16)
