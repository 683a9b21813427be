"""Whisper's front end: the log-mel spectrogram of one window."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from services.inference.models.mel_filters import FFT_SAMPLES, Doubles, mel_filters
from services.inference.pcm import FULL_SCALE, SAMPLE_RATE_HZ, Floats, Pcm

HOP_SAMPLES = 160
WINDOW_SECONDS = 30
WINDOW_SAMPLES = WINDOW_SECONDS * SAMPLE_RATE_HZ
WINDOW_FRAMES = WINDOW_SAMPLES // HOP_SAMPLES
LOWEST_POWER = 1e-10
RANGE_DECADES = 8.0


class AudioTooLong(ValueError):
    """A window holds at most 30 s."""


class LogMel:
    """The filters and the window function of one model."""

    def __init__(self, bands: int) -> None:
        self._filters = mel_filters(bands).T
        self._window = np.hanning(FFT_SAMPLES + 1)[:-1]

    def __call__(self, pcm: Pcm) -> Floats:
        """The spectrogram of the samples and of silence up to 30 s.

        Returns (bands, 3000) float32. In double precision: 80 dB below the loudest frame, single precision is off in the third
        digit. Raises AudioTooLong. Source: Radford et al. 2022, sec. 2.2.
        """
        if len(pcm) > WINDOW_SAMPLES:
            raise AudioTooLong(f"{len(pcm)} samples")
        powers = self._powers(pcm)
        logarithms = np.log10(np.maximum(powers, LOWEST_POWER))
        floor = logarithms.max(initial=np.log10(LOWEST_POWER)) - RANGE_DECADES
        spectrogram = np.full((self._filters.shape[1], WINDOW_FRAMES), max(floor, np.log10(LOWEST_POWER)), np.float32)
        spectrogram[:, : len(powers)] = np.maximum(logarithms, floor).T
        return np.asarray((spectrogram + 4) / 4, np.float32)

    def batch(self, windows: Sequence[Pcm], threads: int) -> Floats:
        """(windows, bands, 3000), several windows at a time: NumPy lets other threads run while it transforms."""
        if threads == 1 or len(windows) == 1:
            return np.stack([self(pcm) for pcm in windows])
        with ThreadPoolExecutor(threads, "log-mel") as pool:
            return np.stack(list(pool.map(self, windows)))

    def _powers(self, pcm: Pcm) -> Doubles:
        """(frames, bands) of the frames that reach into the audio; frame i is centred on i * 10 ms."""
        half = FFT_SAMPLES // 2
        frames = min(WINDOW_FRAMES, -(-(len(pcm) + half) // HOP_SAMPLES))
        samples = np.pad(pcm / FULL_SCALE, (0, min(WINDOW_SAMPLES, frames * HOP_SAMPLES + half) - len(pcm)))
        padded = np.pad(samples, half, mode="reflect")
        cut = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES][:frames]
        spectrum = np.fft.rfft(cut * self._window, axis=1)
        return np.asarray((np.square(spectrum.real) + np.square(spectrum.imag)) @ self._filters)
