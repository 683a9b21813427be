"""Features of sound, 50 rows a second, made so that clicks of a millisecond and pauses of seconds both show.

Three spectra and the waveform: 64 mel bands over 32 ms; 8 mel bands over 8 ms, of which a frame keeps the loudest
and the quietest; 12 bands of 16 Hz from 23 Hz over 128 ms, where mains hum lies, and what is left of each in the quietest of nine
frames, as voices come and go and hum does not; figures of the samples themselves.
Powers are logarithms. VERSION changes with anything that changes a value: a detector takes its own version only.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.detection.mel import mel_filters
from services.detection.waveform import STATISTIC_COUNT, Floats, statistics

VERSION = 1
SAMPLE_RATE_HZ = 16_000
FRAME_MS = 20
FRAME_SAMPLES = SAMPLE_RATE_HZ * FRAME_MS // 1_000

MEL_BANDS = 64
FINE_BANDS = 8
LOW_BANDS = 12
FEATURE_COUNT = MEL_BANDS + 2 * FINE_BANDS + 2 * LOW_BANDS + STATISTIC_COUNT

_MEL_FFT = 512
_FINE_FFT = 128
_LOW_FFT = 2_048
_LOW_FIRST_BIN = 3
_LOW_BINS = 2
_STEADY_FRAMES = 4
_MARGIN = _LOW_FFT // 2 + _STEADY_FRAMES * FRAME_SAMPLES
_BLOCK_FRAMES = 1_500
_FULL_SCALE = np.float32(32_768)
_POWER_FLOOR = np.float32(1e-10)

Pcm = NDArray[np.int16]
Features = NDArray[np.float16]


def frame_count(samples: int) -> int:
    """Frames of a recording: the last may be partly silence that is added."""
    return -(-samples // FRAME_SAMPLES)


def features(pcm: Pcm) -> Features:
    """All of a recording's features; row i is of the 20 ms from i * 20 ms.

    pcm: (samples,) int16, mono, 16 kHz. Returns (frames, FEATURE_COUNT) float16.
    """
    return np.concatenate([np.zeros((0, FEATURE_COUNT), np.float16), *feature_blocks(pcm)])


def feature_blocks(pcm: Pcm) -> Iterator[Features]:
    """The rows of `features`, half a minute at a time: what is held is bounded, so `pcm` may be a memmap of hours."""
    bank = _Bank()
    for first in range(0, frame_count(len(pcm)), _BLOCK_FRAMES):
        frames = min(_BLOCK_FRAMES, frame_count(len(pcm)) - first)
        yield bank.rows(_surrounded(pcm, first, frames), frames)


def _surrounded(pcm: Pcm, first: int, frames: int) -> Floats:
    """The frames' samples in [-1, 1] with a margin on both sides; zeros stand for what lies outside the recording."""
    start, end = first * FRAME_SAMPLES - _MARGIN, (first + frames) * FRAME_SAMPLES + _MARGIN
    inside = pcm[max(0, start) : end]
    padding = (max(0, -start), end - max(0, start) - len(inside))
    return np.pad(np.asarray(inside, np.float32) / _FULL_SCALE, padding)


class _Bank:
    """The windows and filters, made once per recording."""

    def __init__(self) -> None:
        self._mel = mel_filters(MEL_BANDS, _MEL_FFT, SAMPLE_RATE_HZ)
        self._fine = mel_filters(FINE_BANDS, _FINE_FFT, SAMPLE_RATE_HZ)

    def rows(self, sound: Floats, frames: int) -> Features:
        """Features of the frames that start after the sound's margin."""
        mels = (_powers(sound, _MEL_FFT, FRAME_SAMPLES // 2, 2 * frames) @ self._mel).reshape(frames, 2, MEL_BANDS).mean(axis=1)
        fine = (_powers(sound, _FINE_FFT, FRAME_SAMPLES // 5, 5 * frames) @ self._fine).reshape(frames, 5, FINE_BANDS)
        spectra = [mels, fine.max(axis=1), fine.min(axis=1), *_low(sound, frames)]
        logarithms = [np.log(np.maximum(powers, _POWER_FLOOR)) for powers in spectra]
        inside = sound[_MARGIN - FRAME_SAMPLES : _MARGIN + (frames + 1) * FRAME_SAMPLES]
        return np.concatenate([*logarithms, statistics(inside, FRAME_SAMPLES)], axis=1).astype(np.float16)


def _powers(sound: Floats, fft_samples: int, hop_samples: int, count: int, first: int = 0) -> Floats:
    """Power spectra of `count` windows from the first on, window j centred on the middle of the j-th hop: (count, bins) float32."""
    start = _MARGIN + first * hop_samples + hop_samples // 2 - fft_samples // 2
    windows = np.lib.stride_tricks.sliding_window_view(sound, fft_samples)[start::hop_samples][:count]
    shape = np.hanning(fft_samples + 1)[:-1].astype(np.float32)
    spectra = np.fft.rfft(windows * (shape / shape.sum()), axis=1)
    return np.asarray(np.square(spectra.real) + np.square(spectra.imag), np.float32)


def _low(sound: Floats, frames: int) -> tuple[Floats, Floats]:
    """Each frame's low bands, and the least of each in the frames about it."""
    powers = _powers(sound, _LOW_FFT, FRAME_SAMPLES, frames + 2 * _STEADY_FRAMES, first=-_STEADY_FRAMES)
    kept = powers[:, _LOW_FIRST_BIN : _LOW_FIRST_BIN + LOW_BANDS * _LOW_BINS]
    bands = kept.reshape(len(kept), LOW_BANDS, _LOW_BINS).mean(axis=2)
    steady = np.lib.stride_tricks.sliding_window_view(bands, 2 * _STEADY_FRAMES + 1, axis=0).min(axis=2)
    return bands[_STEADY_FRAMES:-_STEADY_FRAMES], steady
