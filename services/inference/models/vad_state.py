"""What voice activity detection carries from one piece of a file to the next.

Apart from the model, so that the pipeline needs no onnxruntime.
"""

from dataclasses import dataclass, field

import numpy as np

from services.inference.pcm import Floats, gain_towards

CONTEXT_SAMPLES = 64
TARGET_LEVEL_DBFS = -20.0


def _zeros() -> Floats:
    return np.zeros((1, 1, 128), np.float32)


@dataclass(frozen=True, slots=True)
class VadState:
    """What one call hands to the next so that a file can come in pieces.

    gain: factor on the samples, one for the whole file (`gain_for`). A gain that follows the audio was
    tried and finds speech worse than none.
    ended: the last piece was not a whole number of frames, so nothing may follow.
    """

    gain: float = 1.0
    hidden: Floats = field(default_factory=_zeros)
    cell: Floats = field(default_factory=_zeros)
    context: Floats = field(default_factory=lambda: np.zeros(CONTEXT_SAMPLES, np.float32))
    ended: bool = False


def gain_for(loud_level_dbfs: float) -> float:
    """The gain that lifts the loud moments of a quiet file to -20 dBFS; loud files and digital silence stay as they are.

    loud_level_dbfs: `pcm.loud_level_dbfs` of the whole file.
    """
    return gain_towards(TARGET_LEVEL_DBFS, loud_level_dbfs)
