"""Speaker embeddings: mel power in numpy, a d-vector encoder in ONNX.

Source: resemblyzer 0.1.4 (Apache-2.0); the graph is written by tools/models/export_dvector.py.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from services.inference.models.mel_filters import FFT_SAMPLES, mel_filters
from services.inference.models.session import open_session
from services.inference.pcm import Floats, Pcm, to_floats

HOP_SAMPLES = 160
HOP_MS = 10
MEL_BANDS = 40
EMBEDDING_SIZE = 256
BATCH_SPANS = 64
MEL_BLOCK_FRAMES = 6_000
SHORTEST_SPAN_FRAMES = 20

MODEL_PATH = Path(__file__).parent / "data" / "speaker_dvector.onnx"


class SpeakerEncoder:
    """One onnxruntime session and the filter bank it was trained with."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._filters = mel_filters(MEL_BANDS).astype(np.float32)

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
    # In double precision, which every NumPy transforms alike: a server's embeddings are those of this process, to the last bit.
    window = np.hanning(FFT_SAMPLES + 1)[:-1]
    mels = np.empty((len(frames), MEL_BANDS), np.float32)
    for start in range(0, len(frames), MEL_BLOCK_FRAMES):
        spectrum = np.fft.rfft(frames[start : start + MEL_BLOCK_FRAMES] * window, axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        mels[start : start + MEL_BLOCK_FRAMES] = power.astype(np.float32) @ filters.T
    return mels


def load_speaker_encoder(path: Path = MODEL_PATH) -> SpeakerEncoder:
    """The encoder carried with the package."""
    return SpeakerEncoder(open_session(path))
