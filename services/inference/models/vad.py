"""Voice activity by Silero's whole-sequence ONNX graph.

Source: github.com/snakers4/silero-vad (MIT); the weights lie in `data/`.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime

from services.inference.models.session import open_session
from services.inference.models.vad_state import CONTEXT_SAMPLES, VadState
from services.inference.pcm import Floats, Pcm, to_floats

FRAME_SAMPLES = 512
FRAME_MS = 32
BLOCK_FRAMES = 1_024

MODEL_PATH = Path(__file__).parent / "data" / "silero_vad.onnx"


class SileroVad:
    """One onnxruntime session; safe to use for many files in turn, one state each."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    def speech_probabilities(self, pcm: Pcm, state: VadState) -> tuple[Floats, VadState]:
        """Probability of speech per 32 ms frame, and the state for the piece that follows.

        Every piece but the last is a multiple of 512 samples; the last is padded with zeros.
        Returns (frames,) float32. Raises ValueError for a piece after the padded one.
        """
        if state.ended and len(pcm):
            raise ValueError("only the last piece may be no whole number of frames")
        found = [np.zeros(0, np.float32)]
        for start in range(0, len(pcm), BLOCK_FRAMES * FRAME_SAMPLES):
            block = pcm[start : start + BLOCK_FRAMES * FRAME_SAMPLES]
            probabilities, state = self._run_block(block, state)
            found.append(probabilities)
        return np.concatenate(found), state

    def _run_block(self, block: Pcm, state: VadState) -> tuple[Floats, VadState]:
        frames = to_frames(block, state.gain)
        contexts = np.vstack([state.context, frames[:-1, -CONTEXT_SAMPLES:]])
        probabilities, hidden, cell = self._session.run(None, {"input": np.hstack([contexts, frames]), "h": state.hidden, "c": state.cell})
        return probabilities, replace(
            state,
            hidden=hidden,
            cell=cell,
            context=frames[-1, -CONTEXT_SAMPLES:],
            ended=len(block) % FRAME_SAMPLES != 0,
        )


def to_frames(block: Pcm, gain: float) -> Floats:
    """(samples,) int16 to (frames, 512) float32 in [-1, 1], the last frame padded with zeros."""
    frames = np.zeros((-(-len(block) // FRAME_SAMPLES), FRAME_SAMPLES), np.float32)
    frames.reshape(-1)[: len(block)] = to_floats(block, gain)
    return frames


def load_vad(path: Path = MODEL_PATH) -> SileroVad:
    """The model carried with the package."""
    return SileroVad(open_session(path))
