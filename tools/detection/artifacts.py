"""What goes wrong with recordings, put in on purpose. Sound is (samples,) float32 in [-1, 1] at 16 kHz, changed in place."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tools.speech.audio import SAMPLE_RATE_HZ

Floats = NDArray[np.float32]

_CLICK_SAMPLES = (3, 48)
_CLICK_LEVEL = (0.2, 0.9)
_HUM_DBFS = (-42.0, -26.0)
_HUM_FADE_SAMPLES = SAMPLE_RATE_HZ // 50
_MAINS_HZ = (50.0, 60.0)
_OVERDRIVE = (4.0, 12.0)
_CLIP_LEVEL = (0.35, 0.99)


def add_click(sound: Floats, start: int, random: Generator) -> int:
    """A burst of 0.2 to 3 ms that dies away. Returns where it ends."""
    length = int(random.integers(*_CLICK_SAMPLES))
    burst = random.normal(0.0, 1.0, length) * np.exp(-3.0 * np.arange(length) / length)
    level = random.uniform(*_CLICK_LEVEL) / np.abs(burst).max()
    sound[start : start + length] += np.asarray(burst * level, np.float32)
    return start + length


def add_dropout(sound: Floats, start: int, length: int) -> None:
    """Nothing at all, as lost packets leave it."""
    sound[start : start + length] = 0.0


def add_hum(sound: Floats, start: int, length: int, random: Generator) -> None:
    """Mains hum with some harmonics, faded in and out within 20 ms."""
    times = np.arange(length) / SAMPLE_RATE_HZ
    mains_hz = float(random.choice(_MAINS_HZ))
    strengths = random.uniform(0.1, 1.0, 4) / (1 + np.arange(4))
    phases = random.uniform(0.0, 2 * np.pi, 4)
    hum = sum(strengths[n] * np.sin(2 * np.pi * mains_hz * (n + 1) * times + phases[n]) for n in range(4))
    hum *= 10 ** (random.uniform(*_HUM_DBFS) / 20) / np.sqrt(np.mean(np.square(hum)))
    edges = np.minimum(np.arange(length), np.arange(length)[::-1]) / _HUM_FADE_SAMPLES
    sound[start : start + length] += np.asarray(hum * np.minimum(1.0, edges), np.float32)


def add_clipping(sound: Floats, start: int, length: int, random: Generator) -> tuple[int, int] | None:
    """Too much gain with a ceiling. Returns the first and last clipped sample, None where the sound is too quiet for any."""
    span = sound[start : start + length]
    ceiling = random.uniform(*_CLIP_LEVEL)
    driven = span * (ceiling * random.uniform(*_OVERDRIVE) / max(1e-3, float(np.abs(span).max())))
    clipped = np.flatnonzero(np.abs(driven) >= ceiling)
    if len(clipped) == 0:
        return None
    span[:] = np.clip(driven, -ceiling, ceiling)
    return start + int(clipped[0]), start + int(clipped[-1]) + 1
