"""Changes of voice, room, channel and noise, made on mel power so that no spectrogram is computed during training.

Power is (frames, 80) float32 everywhere.
"""

import numpy as np

from tools.whisper.mel import MEL_BINS, Frames

Chance = np.random.Generator

_BINS = np.arange(MEL_BINS)


def stretched(power: Frames, factor: float) -> Frames:
    """Speech `factor` times as long, its pitch and resonances unchanged."""
    count = max(1, round(len(power) * factor))
    places = np.minimum(np.arange(count) / factor, len(power) - 1)
    before = places.astype(np.int64)
    share = (places - before)[:, None].astype(np.float32)
    after = np.minimum(before + 1, len(power) - 1)
    blended: Frames = power[before] * (1 - share) + power[after] * share
    return blended


def warped(power: Frames, factor: float) -> Frames:
    """Speech from a vocal tract shorter (factor above 1) or longer: mel bins moved up or down."""
    places = np.minimum(_BINS / factor, MEL_BINS - 1)
    before = places.astype(np.int64)
    share = (places - before).astype(np.float32)
    after = np.minimum(before + 1, MEL_BINS - 1)
    blended: Frames = power[:, before] * (1 - share) + power[:, after] * share
    return blended


def noise(chance: Chance, frames: int, level: float) -> Frames:
    """Steady noise of a random colour with a mean power of `level`."""
    tilt = chance.uniform(-6, 1) * (_BINS / MEL_BINS) ** chance.uniform(0.5, 1.5)
    bumps = np.interp(_BINS, np.linspace(0, MEL_BINS, 6), chance.normal(0, 0.4, 6))
    colour = 10 ** (tilt + bumps)
    shape = chance.uniform(1.5, 6)
    grains = chance.standard_gamma(shape, (frames, MEL_BINS), dtype=np.float32) / np.float32(shape)
    coloured: Frames = grains * (colour * level / colour.mean()).astype(np.float32)
    return coloured


def channel(chance: Chance, power: Frames) -> Frames:
    """The sound through a telephone or a poor microphone: bass and treble lost."""
    corners = [0, chance.uniform(1, 12), chance.uniform(45, 78), MEL_BINS]
    losses = np.interp(_BINS, corners, [chance.uniform(-3, 0), 0, 0, chance.uniform(-3, 0)])
    return power * (10**losses).astype(np.float32)


def room(chance: Chance, power: Frames) -> Frames:
    """The sound with a decaying echo of up to a tenth of a second."""
    decay = chance.uniform(0.3, 0.75)
    echoed = power.copy()
    for delay in range(1, min(11, len(power))):
        echoed[delay:] += power[:-delay] * np.float32(0.15 * decay**delay)
    return echoed


def disturbed(chance: Chance, power: Frames, speech_frames: int) -> Frames:
    """A window of speech as a microphone might give it; noise either ends with the speech or fills the window."""
    if chance.random() < 0.25:
        power = channel(chance, power)
    if chance.random() < 0.15:
        power = room(chance, power)
    if chance.random() < 0.5:
        end = speech_frames if chance.random() < 0.4 else len(power)
        level = float(power[:speech_frames].mean()) * 10 ** (-chance.uniform(8, 45) / 10)
        power = power.copy()
        power[:end] += noise(chance, end, level)
    return power * np.float32(10 ** chance.uniform(-2.5, 0))


def speechless(chance: Chance, frames: int) -> Frames:
    """Digital silence, noise, clicks, tones or music."""
    power = np.zeros((frames, MEL_BINS), np.float32)
    kind = chance.random()
    if kind < 0.6:
        power += noise(chance, frames, 10 ** chance.uniform(-7, -0.5))
    if 0.4 < kind < 0.75:
        _add_events(chance, power)
    if 0.7 < kind < 0.95:
        _add_chords(chance, power)
    return power


def _add_events(chance: Chance, power: Frames) -> None:
    for _ in range(chance.integers(1, 25)):
        start, low = chance.integers(len(power)), chance.integers(MEL_BINS)
        height = MEL_BINS if chance.random() < 0.3 else chance.integers(1, 7)
        power[start : start + chance.integers(2, 200), low : low + height] += np.float32(10 ** chance.uniform(-3, 1))


def _add_chords(chance: Chance, power: Frames) -> None:
    """A few lines of steady pitch at a time, all changed together and fading, or not."""
    length, fade = int(chance.integers(15, 150)), chance.choice([0, chance.uniform(0.01, 0.1)])
    level = 10 ** chance.uniform(-3, 1)
    for start in range(0, len(power), length):
        part = power[start : start + length]
        shape = np.exp(-fade * np.arange(len(part)))[:, None] * level
        lines = chance.integers(0, MEL_BINS // 2, chance.integers(1, 12))
        part[:, lines] += (shape * 10 ** chance.uniform(-1.5, 0, len(lines))).astype(np.float32)


def masked(chance: Chance, features: Frames) -> Frames:
    """Features (80, frames) with a few neighbouring bins hidden. Source: Park et al. 2019, SpecAugment."""
    width = int(chance.integers(1, 9))
    low = int(chance.integers(MEL_BINS - width))
    features[low : low + width] = features.mean()
    return features
