"""Held-out sentences laid into windows for the evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tools.whisper.corpus import Corpus, Entry
from tools.whisper.utterance import SAMPLE_RATE_HZ, Span, Waveform

LEAD_SECONDS = 0.3
PAUSE_SECONDS = 0.6
WINDOW_SECONDS = 29.0


@dataclass(frozen=True)
class Scene:
    """A window's sound, (samples,) float32 at 16 kHz, and the words in it."""

    samples: Waveform
    words: tuple[Span, ...]


def scenes(corpus: Corpus, entries: Sequence[Entry], *, filled: bool) -> Iterator[Scene]:
    """A window for each sentence, or windows filled with as many as they hold."""
    for group in _grouped(entries, WINDOW_SECONDS if filled else 0.0):
        yield _scene(corpus, group)


def _grouped(entries: Sequence[Entry], seconds: float) -> Iterator[list[Entry]]:
    group: list[Entry] = []
    length = LEAD_SECONDS
    for entry in entries:
        longer = length + _seconds(entry) + PAUSE_SECONDS
        if group and longer > seconds:
            yield group
            group, longer = [], LEAD_SECONDS + _seconds(entry) + PAUSE_SECONDS
        group, length = [*group, entry], longer
    if group:
        yield group


def _seconds(entry: Entry) -> float:
    return entry.frames / 100


def _scene(corpus: Corpus, entries: Sequence[Entry]) -> Scene:
    pause = np.zeros(round(PAUSE_SECONDS * SAMPLE_RATE_HZ), np.float32)
    parts, words = [np.zeros(round(LEAD_SECONDS * SAMPLE_RATE_HZ), np.float32)], list[Span]()
    for entry in entries:
        start = sum(map(len, parts)) / SAMPLE_RATE_HZ
        words += [Span(word.text, word.start + start, word.end + start) for word in entry.words]
        parts += [corpus.waveform(entry).astype(np.float32) / np.float32(32_768), pause]
    return Scene(np.concatenate(parts), tuple(words))
