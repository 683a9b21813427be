"""The model `speaker`: embeddings of spans of up to a minute of speech."""

import numpy as np

from services.inference.models.speaker import load_speaker_encoder
from services.inference.pcm import SAMPLE_RATE_HZ
from services.inference.triton.host import RowsApart
from services.inference.triton.parameters import Parameters
from services.inference.triton.wire import Arrays, decode_stretch, encode_embeddings


def open_speaker(parameters: Parameters) -> RowsApart:
    """The encoder carried with the package, warm."""
    encoder = load_speaker_encoder()
    encoder.embed(np.zeros(SAMPLE_RATE_HZ, np.int16), [(0, 1_000)], 1.0)

    def answer(inputs: Arrays) -> Arrays:
        return encode_embeddings(encoder.embed(*decode_stretch(inputs)))

    return RowsApart(answer, parameters.threads)
