"""Triangles on the mel scale.

Source: Slaney 1998, Auditory Toolbox: linear to 1 kHz, logarithmic above.
"""

import numpy as np
from numpy.typing import NDArray

_LINEAR_HZ = 1_000.0
_HZ_PER_MEL = 200.0 / 3
_LINEAR_MELS = _LINEAR_HZ / _HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27


def mel_filters(bands: int, fft_samples: int, sample_rate_hz: int) -> NDArray[np.float32]:
    """Weights of each bin of a power spectrum in each band, summing to 1 per band: (bins, bands) float32."""
    edges_hz = _to_hz(np.linspace(0.0, _to_mel(sample_rate_hz / 2), bands + 2))
    bins_hz = np.linspace(0.0, sample_rate_hz / 2, fft_samples // 2 + 1)
    rising = (bins_hz[:, None] - edges_hz[:-2]) / np.diff(edges_hz)[:-1]
    falling = (edges_hz[2:] - bins_hz[:, None]) / np.diff(edges_hz)[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles / triangles.sum(axis=0), np.float32)


def _to_mel(hz: float) -> float:
    return hz / _HZ_PER_MEL if hz < _LINEAR_HZ else _LINEAR_MELS + float(np.log(hz / _LINEAR_HZ)) / float(_LOG_STEP)


def _to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    logarithmic = _LINEAR_HZ * np.exp(_LOG_STEP * (mels - _LINEAR_MELS))
    return np.asarray(np.where(mels < _LINEAR_MELS, mels * _HZ_PER_MEL, logarithmic), np.float64)
