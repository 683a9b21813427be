"""What the samples of a frame say that its spectrum hides: peaks, flat tops, holes, jumps."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

STATISTIC_COUNT = 14
CLIPPED_LEVEL = 0.98
FLAT_LEVEL = 0.999
_FLOOR = np.float32(1e-5)
_QUIET = np.float32(1.5 / 32_768)
_PARTS = 4
_BEND_PARTS = 8
_NEAR_PARTS, _FAR_PARTS = 2, 8


def statistics(sound: Floats, frame_samples: int) -> Floats:
    """One row of figures per frame.

    sound: (samples,) in [-1, 1], of whole frames; the first and the last one are there for their neighbours' sake and have no row.
    Returns (frames - 2, 14): logarithms of peak, root mean square, crest factor and the quietest quarter;
    shares of samples at full scale, near the frame's own peak, near zero; longest runs near zero and of
    equal samples as shares of the frame; logarithms of the largest second difference and of it to the mean
    one; share of changes of sign; logarithm of the largest second difference to those around it, 5 to 20 ms away: voices
    have pulses on both sides of each, a click stands alone; share of samples at the very peak, which only flat tops have many of.
    """
    all_frames = sound.reshape(-1, frame_samples)
    frames, before = all_frames[1:-1], all_frames[:-2, -2:]
    sizes = np.abs(frames)
    peaks = np.maximum(sizes.max(axis=1), _FLOOR)
    quiet = sizes < _QUIET
    columns = [
        *_levels(frames, peaks),
        *_shares(sizes, peaks, quiet),
        *_runs(frames, before, quiet),
        *_jumps(frames, before),
        _sign_changes(frames),
        _loneliness(all_frames),
        (sizes >= FLAT_LEVEL * peaks[:, None]).mean(axis=1, dtype=np.float32),
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _levels(frames: Floats, peaks: Floats) -> list[Floats]:
    parts = np.square(frames.reshape(len(frames), _PARTS, -1)).mean(axis=2)
    loudness = np.maximum(np.sqrt(parts.mean(axis=1)), _FLOOR)
    quietest = np.maximum(np.sqrt(parts.min(axis=1)), _FLOOR)
    return [np.log(peaks), np.log(loudness), np.log(peaks / loudness), np.log(quietest)]


def _shares(sizes: Floats, peaks: Floats, quiet: NDArray[np.bool_]) -> list[Floats]:
    marks = (sizes >= CLIPPED_LEVEL, sizes >= CLIPPED_LEVEL * peaks[:, None], quiet)
    return [mark.mean(axis=1, dtype=np.float32) for mark in marks]


def _runs(frames: Floats, before: Floats, quiet: NDArray[np.bool_]) -> list[Floats]:
    equal = np.diff(frames, axis=1, prepend=before[:, 1:]) == 0
    return [_longest(marks) / np.float32(frames.shape[1]) for marks in (quiet, equal)]


def _longest(marks: NDArray[np.bool_]) -> Floats:
    """Length of the longest run of True in each row."""
    ordinals = np.arange(1, marks.shape[1] + 1, dtype=np.int32)
    last_break = np.maximum.accumulate(np.where(marks, np.int32(0), ordinals), axis=1)
    return np.asarray((ordinals - last_break).max(axis=1), np.float32)


def _jumps(frames: Floats, before: Floats) -> list[Floats]:
    bends = np.abs(np.diff(np.concatenate([before, frames], axis=1), n=2, axis=1))
    largest = np.maximum(bends.max(axis=1), _FLOOR)
    return [np.log(largest), np.log(largest / np.maximum(bends.mean(axis=1), _FLOOR))]


def _sign_changes(frames: Floats) -> Floats:
    negative = frames < 0
    return np.asarray((negative[:, 1:] != negative[:, :-1]).mean(axis=1), np.float32)


def _loneliness(all_frames: Floats) -> Floats:
    sound = all_frames.reshape(-1)
    bends = np.abs(np.diff(sound, n=2, prepend=sound[:1].repeat(2)))
    parts = np.maximum(bends.reshape(len(all_frames) * _BEND_PARTS, -1).max(axis=1), _FLOOR)
    inner = slice(_BEND_PARTS, -_BEND_PARTS)
    distances = [sign * distance for distance in range(_NEAR_PARTS, _FAR_PARTS + 1) for sign in (1, -1)]
    around = np.max([np.roll(parts, distance)[inner] for distance in distances], axis=0)
    return np.asarray(np.log(parts[inner] / around).reshape(-1, _BEND_PARTS).max(axis=1), np.float32)
