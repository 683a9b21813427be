"""Sound that only repeats itself: a skipping disc, a hung call, one syllable over and over.

Recognisers turn it into fluent text that nobody spoke, and neither their own probabilities nor the text betray it. Log energies of 16
bands every 10 ms, less their mean over the window, are compared with themselves a period later. Loops of 0.2 to 1.2 s score 1.00, with
noise 10 dB below them 0.91; a meeting scores 0.49 at most in windows of 15 s and 0.80 in windows of 2 s, no more under mains hum that
drowns it.
"""

import numpy as np

from services.inference.pcm import SAMPLES_PER_MS, Floats, Pcm, to_floats

SAME_SCORE = 0.9
_HOP_MS = 10
_FRAME_SAMPLES = 25 * SAMPLES_PER_MS
_SPECTRUM_SAMPLES = 512
_BANDS = 16
_FLOOR = 1e-6
_SHORTEST_MS = 2_000
_PERIODS_MS = (100, 1_500)
_LEAST_PERIODS = 4
# Below this the bands hardly change: silence, or one steady tone.
_LEAST_VARIANCE = 1.0


def repeats_itself(pcm: Pcm) -> bool:
    """Whether nearly all of the window is the same 0.1 to 1.5 s again, four times or more; never true below two seconds."""
    if len(pcm) < _SHORTEST_MS * SAMPLES_PER_MS:
        return False
    bands = _band_levels(pcm)
    powers = (bands**2).sum(axis=1)
    if powers.mean() < _LEAST_VARIANCE:
        return False
    count = len(bands)
    lags = np.arange(_PERIODS_MS[0] // _HOP_MS, min(_PERIODS_MS[1] // _HOP_MS, count // _LEAST_PERIODS) + 1)
    sums = np.concatenate([[0.0], np.cumsum(powers)])
    scales = np.sqrt(sums[count - lags] * (sums[count] - sums[lags])) + _FLOOR
    return bool((_autocorrelation(bands)[lags] / scales).max() >= SAME_SCORE)


def _band_levels(pcm: Pcm) -> Floats:
    """(frames, bands) natural logarithms of the energy, with mean 0 in each band."""
    frames = np.lib.stride_tricks.sliding_window_view(to_floats(pcm), _FRAME_SAMPLES)[:: _HOP_MS * SAMPLES_PER_MS]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(_FRAME_SAMPLES).astype(np.float32), _SPECTRUM_SAMPLES)) ** 2
    edges = np.geomspace(4, _SPECTRUM_SAMPLES // 2, _BANDS + 1).round().astype(np.intp)[:-1]
    levels = np.log(np.add.reduceat(spectra, edges, axis=1) + _FLOOR)
    return np.asarray(levels - levels.mean(axis=0), np.float32)


def _autocorrelation(bands: Floats) -> Floats:
    """(frames,) sum over the bands of each one's product with itself so many frames later."""
    size = 1 << (2 * len(bands) - 1).bit_length()
    spectra = np.fft.rfft(bands, size, axis=0)
    return np.asarray(np.fft.irfft((np.abs(spectra) ** 2).sum(axis=1), size)[: len(bands)], np.float32)
