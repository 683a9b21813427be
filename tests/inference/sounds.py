"""Sounds that hold no words, made up: silence, noise, tones, music, and a piece of speech over and over."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from services.inference.pcm import FULL_SCALE, SAMPLE_RATE_HZ, SAMPLES_PER_MS, Floats, Pcm
from tests.inference.conftest import decode
from tests.inference.stage import HELLO

Doubles = npt.NDArray[np.float64]
SECONDS = 15
_CHORD = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
_ROOTS_HZ = (220.0, 174.6, 261.6, 196.0)


def looped(start_ms: int, length_ms: int, pause_ms: int = 0, seconds: int = SECONDS) -> Pcm:
    """One syllable of the clip over and over."""
    syllable = decode(HELLO)[start_ms * SAMPLES_PER_MS : (start_ms + length_ms) * SAMPLES_PER_MS]
    once = np.concatenate([syllable, np.zeros(pause_ms * SAMPLES_PER_MS, np.int16)])
    return np.tile(once, seconds * SAMPLE_RATE_HZ // len(once))


def again(pcm: Pcm, times: int, pause_ms: int = 100) -> Pcm:
    """A whole recording so many times, as people play a greeting."""
    return np.tile(np.concatenate([pcm, np.zeros(pause_ms * SAMPLES_PER_MS, np.int16)]), times)


def noise(level: float) -> Pcm:
    """White noise of a level relative to full scale."""
    return _pcm(level * np.random.default_rng(7).standard_normal(SECONDS * SAMPLE_RATE_HZ))


def _times(seconds: float = SECONDS) -> Doubles:
    return np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ


def _pcm(wave: Doubles) -> Pcm:
    return np.asarray(np.clip(wave, -1, 1) * (FULL_SCALE - 1), np.int16)


def _chords() -> Pcm:
    struck = np.exp(-1.2 * _times(2))
    bars = [struck * sum(0.5**n * np.sin(2 * np.pi * root * ratio * _times(2)) for n, ratio in enumerate(_CHORD)) for root in _ROOTS_HZ * 2]
    return _pcm(0.3 * np.concatenate(bars))


def _vibrato() -> Pcm:
    phase = 2 * np.pi * 220 * _times() + 3 * np.sin(2 * np.pi * 5.5 * _times())
    return _pcm(np.asarray(0.4 * sum(np.sin(n * phase) / n for n in range(1, 8)), np.float64))


def _beats() -> Pcm:
    hit = np.random.default_rng(7).standard_normal(1600) * np.exp(-np.arange(1600) / 200)
    return _pcm(0.5 * np.tile(np.concatenate([hit, np.zeros(6400)]), 30))


def _swelling_noise() -> Pcm:
    wave: Floats = (noise(0.4) / np.float32(FULL_SCALE)).astype(np.float32)
    return _pcm(wave * (1 + np.sin(2 * np.pi * 4 * _times())) / 2)


# The loops are speech to Silero, some of them.
WORDLESS: Mapping[str, Callable[[], Pcm]] = MappingProxyType(
    {
        "silence": lambda: np.zeros(SECONDS * SAMPLE_RATE_HZ, np.int16),
        "noise": lambda: noise(0.3),
        "faint noise": lambda: noise(0.003),
        "tone": lambda: _pcm(0.5 * np.sin(2 * np.pi * 440 * _times())),
        "sweep": lambda: _pcm(0.5 * np.sin(2 * np.pi * (100 * _times() + 100 * _times() ** 2))),
        "chords": _chords,
        "vibrato": _vibrato,
        "beats": _beats,
        "swelling noise": _swelling_noise,
        "short syllable": lambda: looped(300, 200),
        "syllable with pauses": lambda: looped(300, 200, pause_ms=200),
        "long syllable": lambda: looped(600, 350, pause_ms=150),
        "two syllables": lambda: looped(600, 550, pause_ms=80),
    }
)
