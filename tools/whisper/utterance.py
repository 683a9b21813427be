"""One spoken sentence and the times of what is in it."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tools.whisper.grammar import Language

SAMPLE_RATE_HZ = 16_000

Waveform = NDArray[np.float32]


class Span(NamedTuple):
    """A word or phone; seconds from the start of its utterance."""

    text: str
    start: float
    end: float


class Speech(NamedTuple):
    """What a synthesizer said. samples: (samples,) float32 in [-1, 1], mono, 16 kHz; words split the text at its spaces."""

    samples: Waveform
    words: list[Span]
    phones: list[Span]


@dataclass(frozen=True)
class Utterance:
    """A sentence of the corpus. samples: as in `Speech`, trimmed to the speech and levelled."""

    language: Language
    voice: str
    text: str
    samples: Waveform
    words: tuple[Span, ...]
    phones: tuple[Span, ...]


def trimmed(speech: Speech, margin: float = 0.01) -> Speech:
    """The speech from its first to its last word; margin in seconds."""
    start = max(0.0, speech.words[0].start - margin)
    end = min(len(speech.samples) / SAMPLE_RATE_HZ, speech.words[-1].end + margin)
    kept = speech.samples[round(start * SAMPLE_RATE_HZ) : round(end * SAMPLE_RATE_HZ)]
    return Speech(kept, _moved(speech.words, start, end), _moved(speech.phones, start, end))


def _moved(spans: list[Span], start: float, end: float) -> list[Span]:
    return [Span(span.text, max(span.start, start) - start, max(min(span.end, end), start) - start) for span in spans]


def stretched(speech: Speech, factor: float) -> Speech:
    """The speech played slower by a factor: longer, and lower in pitch and resonance."""
    places = np.arange(0, len(speech.samples) - 1, 1 / factor)
    samples = np.interp(places, np.arange(len(speech.samples)), speech.samples).astype(np.float32)
    return Speech(samples, _scaled(speech.words, factor), _scaled(speech.phones, factor))


def _scaled(spans: list[Span], factor: float) -> list[Span]:
    return [Span(span.text, span.start * factor, span.end * factor) for span in spans]


def levelled(speech: Speech, peak: float = 0.6) -> Speech:
    """The speech with a given peak."""
    return speech._replace(samples=speech.samples * np.float32(peak / max(1e-6, float(np.abs(speech.samples).max()))))
