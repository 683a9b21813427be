"""The model `vad`: speech probabilities of up to a minute, and the state for the minute that follows."""

import numpy as np

from services.inference.models.vad import load_vad
from services.inference.models.vad_state import VadState
from services.inference.pcm import SAMPLE_RATE_HZ
from services.inference.triton.host import RowsApart
from services.inference.triton.parameters import Parameters
from services.inference.triton.wire import Arrays, decode_piece, encode_probabilities


def open_vad(parameters: Parameters) -> RowsApart:
    """The detector carried with the package, warm."""
    vad = load_vad()
    vad.speech_probabilities(np.zeros(SAMPLE_RATE_HZ, np.int16), VadState())

    def answer(inputs: Arrays) -> Arrays:
        return encode_probabilities(*vad.speech_probabilities(*decode_piece(inputs)))

    return RowsApart(answer, parameters.threads)
