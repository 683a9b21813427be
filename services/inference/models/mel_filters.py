"""Triangular filters on Slaney's mel scale, from 0 to 8 kHz, for spectra of 400 samples."""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from services.inference.pcm import SAMPLE_RATE_HZ

FFT_SAMPLES = 400
SLANEY_LINEAR_HZ = 200 / 3
SLANEY_BREAK_HZ = 1_000.0
SLANEY_BREAK_MEL = SLANEY_BREAK_HZ / SLANEY_LINEAR_HZ
SLANEY_LOG_STEP = np.log(6.4) / 27

Doubles: TypeAlias = npt.NDArray[np.float64]


def mel_filters(bands: int) -> Doubles:
    """(bands, 201) triangles of equal area."""
    bins_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, FFT_SAMPLES // 2 + 1)
    edges_hz = mel_to_hz(np.linspace(0, hz_to_mel(SAMPLE_RATE_HZ / 2), bands + 2))
    widths = np.diff(edges_hz)[:, None]
    distances = edges_hz[:, None] - bins_hz[None, :]
    rising, falling = -distances[:-2] / widths[:-1], distances[2:] / widths[1:]
    areas = (edges_hz[2:] - edges_hz[:-2])[:, None]
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * 2 / areas, np.float64)


def hz_to_mel(hz: float) -> float:
    """Slaney's scale at or above its break at 1 kHz."""
    return float(SLANEY_BREAK_MEL + np.log(hz / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP)


def mel_to_hz(mels: Doubles) -> Doubles:
    """Slaney's scale: linear below 1 kHz, logarithmic above."""
    logarithmic = SLANEY_BREAK_HZ * np.exp(SLANEY_LOG_STEP * (mels - SLANEY_BREAK_MEL))
    return np.where(mels >= SLANEY_BREAK_MEL, logarithmic, mels * SLANEY_LINEAR_HZ)
