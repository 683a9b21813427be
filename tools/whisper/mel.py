"""Log-mel spectrograms exactly as Whisper defines them, with the power spectrum kept apart so that sounds can be added up."""

import numpy as np
from numpy.typing import NDArray

from tools.whisper.utterance import SAMPLE_RATE_HZ, Waveform

MEL_BINS = 80
FFT_SAMPLES = 400
HOP_SAMPLES = 160
FRAMES_PER_SECOND = SAMPLE_RATE_HZ // HOP_SAMPLES
POWER_FLOOR = 1e-10
DYNAMIC_RANGE = 8.0

Frames = NDArray[np.float32]

_LINEAR_HZ = 200.0 / 3
_LOG_START_HZ = 1_000.0
_LOG_STEP = np.log(6.4) / 27


def mel_filters() -> Frames:
    """Slaney's filters, (201, 80) float32. Source: Slaney, Auditory Toolbox, 1998; 0-8 kHz, area normalised."""
    edges = _hz(np.linspace(0, _mel(SAMPLE_RATE_HZ / 2), MEL_BINS + 2))
    frequencies = np.linspace(0, SAMPLE_RATE_HZ / 2, FFT_SAMPLES // 2 + 1)
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    return (np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])).astype(np.float32)


def _mel(hz: float) -> float:
    return hz / _LINEAR_HZ if hz < _LOG_START_HZ else float(_LOG_START_HZ / _LINEAR_HZ + np.log(hz / _LOG_START_HZ) / _LOG_STEP)


def _hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _LOG_START_HZ / _LINEAR_HZ
    return np.where(mels < knee, mels * _LINEAR_HZ, _LOG_START_HZ * np.exp(_LOG_STEP * (np.maximum(mels, knee) - knee)))


def mel_power(samples: Waveform, filters: Frames) -> Frames:
    """Power per frame and mel bin, (samples // 160, 80) float32, silence assumed around the samples."""
    count = len(samples) // HOP_SAMPLES
    padded = np.pad(samples, FFT_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES][:count]
    window = np.hanning(FFT_SAMPLES + 1)[:-1].astype(np.float32)
    spectrum = np.fft.rfft(frames * window)
    power: Frames = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ filters
    return power


def log_mel(power: Frames) -> Frames:
    """Whisper's input: (80, frames) float32 out of (frames, 80) power. Source: Radford et al. 2022, sec. 2.2."""
    logarithm = np.log10(np.maximum(power, POWER_FLOOR))
    features: Frames = ((np.maximum(logarithm, logarithm.max() - DYNAMIC_RANGE) + 4.0) / 4.0).T.astype(np.float32)
    return features
