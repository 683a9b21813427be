"""Speaker embeddings: mel power in numpy, a d-vector encoder in ONNX.

Source: resemblyzer 0.1.4 (Apache-2.0); the graph is written by tools/models/export_dvector.py.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from services.inference.models.session import open_session
from services.inference.pcm import SAMPLE_RATE_HZ, Floats, Pcm, to_floats

FFT_SAMPLES = 400
HOP_SAMPLES = 160
HOP_MS = 10
MEL_BANDS = 40
EMBEDDING_SIZE = 256
BATCH_SPANS = 64
MEL_BLOCK_FRAMES = 6_000
SHORTEST_SPAN_FRAMES = 20

SLANEY_LINEAR_HZ = 200 / 3
SLANEY_BREAK_HZ = 1_000.0
SLANEY_BREAK_MEL = SLANEY_BREAK_HZ / SLANEY_LINEAR_HZ
SLANEY_LOG_STEP = np.log(6.4) / 27

MODEL_PATH = Path(__file__).parent / "data" / "speaker_dvector.onnx"


class SpeakerEncoder:
    """One onnxruntime session and the filter bank it was trained with."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._filters = mel_filters()

    def embed(self, pcm: Pcm, spans: Sequence[tuple[int, int]], gain: float) -> Floats:
        """One embedding per span of the audio.

        spans: [start_ms, end_ms) from the start of `pcm`. gain: factor on the samples; the encoder
        hears absolute power, see `diarization.spans.encoder_gain`. Returns (spans, 256) float32 rows
        of length 1. Spans of equal length share a batch.
        """
        mels = mel_power(to_floats(pcm, gain), self._filters)
        embeddings = np.zeros((len(spans), EMBEDDING_SIZE), np.float32)
        by_length: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for row, span in enumerate(spans):
            first, last = frame_range(span, len(mels))
            by_length[last - first].append((row, first))
        for length, members in by_length.items():
            for batch in range(0, len(members), BATCH_SPANS):
                rows, firsts = zip(*members[batch : batch + BATCH_SPANS], strict=True)
                stacked = np.stack([mels[first : first + length] for first in firsts])
                embeddings[list(rows)] = self._session.run(None, {"mels": stacked})[0]
        return embeddings


def frame_range(span: tuple[int, int], frames: int) -> tuple[int, int]:
    """Mel frames of a span in ms, at least 20 where the audio has them."""
    first = max(0, min(round(span[0] / HOP_MS), frames - SHORTEST_SPAN_FRAMES))
    last = min(frames, max(round(span[1] / HOP_MS), first + SHORTEST_SPAN_FRAMES))
    return first, last


def mel_power(samples: Floats, filters: Floats) -> Floats:
    """Mel power spectrogram, frame i centred on i * 10 ms, as librosa computes it.

    samples: (samples,) float32 in [-1, 1]. Returns (frames, 40) float32. Zeros surround the audio;
    blocks of a minute bound the memory.
    """
    padded = np.pad(samples, FFT_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT_SAMPLES)[::HOP_SAMPLES]
    window = np.hanning(FFT_SAMPLES + 1)[:-1].astype(np.float32)
    mels = np.empty((len(frames), MEL_BANDS), np.float32)
    for start in range(0, len(frames), MEL_BLOCK_FRAMES):
        spectrum = np.fft.rfft(frames[start : start + MEL_BLOCK_FRAMES] * window, axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        mels[start : start + MEL_BLOCK_FRAMES] = power.astype(np.float32) @ filters.T
    return mels


def mel_filters() -> Floats:
    """(40, 201) triangles of equal area on Slaney's mel scale from 0 to 8 kHz."""
    bins_hz = np.linspace(0, SAMPLE_RATE_HZ / 2, FFT_SAMPLES // 2 + 1)
    edges_hz = mel_to_hz(np.linspace(0, float(hz_to_mel(SAMPLE_RATE_HZ / 2)), MEL_BANDS + 2))
    widths = np.diff(edges_hz)[:, None]
    distances = edges_hz[:, None] - bins_hz[None, :]
    rising, falling = -distances[:-2] / widths[:-1], distances[2:] / widths[1:]
    areas = (edges_hz[2:] - edges_hz[:-2])[:, None]
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * 2 / areas, np.float32)


def hz_to_mel(hz: float) -> float:
    """Slaney's scale at or above its break at 1 kHz."""
    return float(SLANEY_BREAK_MEL + np.log(hz / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP)


def mel_to_hz(mels: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Slaney's scale: linear below 1 kHz, logarithmic above."""
    logarithmic = SLANEY_BREAK_HZ * np.exp(SLANEY_LOG_STEP * (mels - SLANEY_BREAK_MEL))
    return np.where(mels >= SLANEY_BREAK_MEL, logarithmic, mels * SLANEY_LINEAR_HZ)


def load_speaker_encoder(path: Path = MODEL_PATH) -> SpeakerEncoder:
    """The encoder carried with the package."""
    return SpeakerEncoder(open_session(path))
