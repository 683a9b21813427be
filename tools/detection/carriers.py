"""Speech to put artefacts into: what flite's voices say in the samples, turn by turn."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.speech.audio import SAMPLE_RATE_HZ, read_audio

SAMPLES = Path(__file__).parents[2] / "samples"
RECORDINGS = ("meeting.flac", "whisper-meeting.ogg")
VOICES = ("awb", "rms", "slt")
TRAINING_VOICES = ("awb", "slt")
TEST_VOICES = ("rms",)

Floats = NDArray[np.float32]


def sentences(voices: Sequence[str]) -> list[Floats]:
    """The turns of the voices, (samples,) float32 in [-1, 1] each. Raises ValueError for a voice that the samples lack."""
    if unknown := set(voices) - set(VOICES):
        raise ValueError(f"the samples have no voice {', '.join(sorted(unknown))}")
    return [turn for name in RECORDINGS for turn in _turns(SAMPLES / name, voices)]


def _turns(path: Path, voices: Sequence[str]) -> list[Floats]:
    sound = read_audio(path).astype(np.float32) / np.float32(32_768)
    turns = json.loads(path.with_suffix(".json").read_text())["turns"]
    spans = [slice(*(round(turn[edge] * SAMPLE_RATE_HZ) for edge in ("start", "end"))) for turn in turns if turn["speaker"] in voices]
    return [sound[span] for span in spans]
