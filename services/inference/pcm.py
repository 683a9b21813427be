"""The one form audio has inside the service: 16 kHz mono int16."""

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Pcm: TypeAlias = npt.NDArray[np.int16]
Floats: TypeAlias = npt.NDArray[np.float32]
Features: TypeAlias = npt.NDArray[np.float16]

SAMPLE_RATE_HZ = 16_000
SAMPLES_PER_MS = 16
FULL_SCALE = 32_768.0
HIGHEST_LIFT_DB = 40.0
LEVEL_BLOCK_SAMPLES = 60 * SAMPLE_RATE_HZ
LOUDNESS_FRAME_SAMPLES = 50 * SAMPLES_PER_MS
LOUD_QUANTILE = 0.98
SOUND_FRAME_MS = 20
QUIETEST_SOUND_DB = 35.0


def to_floats(pcm: Pcm, gain: float = 1.0) -> Floats:
    """Samples as float32 in [-1, 1], louder by `gain` and clipped."""
    return np.asarray(np.clip(pcm * np.float32(gain / FULL_SCALE), -1.0, 1.0), np.float32)


def duration_ms(pcm: Pcm) -> int:
    """Whole milliseconds; a started one counts."""
    return -(-len(pcm) // SAMPLES_PER_MS)


def cut(pcm: Pcm, start_ms: int, end_ms: int) -> Pcm:
    """The samples of [start_ms, end_ms), fewer where the audio ends earlier."""
    return pcm[start_ms * SAMPLES_PER_MS : end_ms * SAMPLES_PER_MS]


def level_dbfs(pcm: Pcm) -> float:
    """Root mean square relative to full scale; -inf for digital silence or no samples.

    Reads a minute at a time, so that a memory-mapped file stays on its disk.
    """
    energy = 0.0
    for start in range(0, len(pcm), LEVEL_BLOCK_SAMPLES):
        block = pcm[start : start + LEVEL_BLOCK_SAMPLES].astype(np.float64)
        energy += float(block @ block)
    if energy == 0:
        return -math.inf
    return 10 * math.log10(energy / len(pcm) / FULL_SCALE**2)


def loud_level_dbfs(pcm: Pcm) -> float:
    """The level that a fiftieth of the 50 ms frames exceed; -inf for digital silence or no samples.

    How loud people talk, whatever the share of time in which they do: the mean level of a file with a minute of talk
    in an hour is its noise. Reads a minute at a time.
    """
    powers = [_frame_powers(pcm[start : start + LEVEL_BLOCK_SAMPLES]) for start in range(0, len(pcm), LEVEL_BLOCK_SAMPLES)]
    loud = float(np.quantile(np.concatenate(powers), LOUD_QUANTILE)) if powers else 0.0
    return 10 * math.log10(loud / FULL_SCALE**2) if loud > 0 else -math.inf


def sound_bounds_ms(pcm: Pcm) -> tuple[int, int]:
    """Where the first sound starts and the last one ends, to 20 ms: what is at most 35 dB below the loud moments.

    Weak consonants are louder than that. The whole audio where all of it is as quiet or as loud.
    """
    powers = _frame_powers(pcm, SOUND_FRAME_MS * SAMPLES_PER_MS) if len(pcm) else np.zeros(0)
    loud = np.flatnonzero(powers > np.quantile(powers, LOUD_QUANTILE) * 10 ** (-QUIETEST_SOUND_DB / 10)) if len(powers) else powers
    if not len(loud):
        return 0, duration_ms(pcm)
    return int(loud[0]) * SOUND_FRAME_MS, min(duration_ms(pcm), (int(loud[-1]) + 1) * SOUND_FRAME_MS)


def _frame_powers(block: Pcm, frame_samples: int = LOUDNESS_FRAME_SAMPLES) -> npt.NDArray[np.float64]:
    """Mean square of each started frame."""
    starts = np.arange(0, len(block), frame_samples)
    return np.asarray(np.add.reduceat(np.square(block.astype(np.float64)), starts) / frame_samples)


def gain_towards(target_dbfs: float, measured_dbfs: float) -> float:
    """Factor that lifts a level to the target, never below 1 and never over 40 dB."""
    if measured_dbfs == -math.inf:
        return 1.0
    lift_db = min(HIGHEST_LIFT_DB, max(0.0, target_dbfs - measured_dbfs))
    return float(10 ** (lift_db / 20))
