"""The smallest real inference of each model, and what its answer tells."""

import numpy as np

from services.inference.engines.triton.faults import understood
from services.inference.engines.triton.server import TritonServer
from services.inference.models.vad_state import VadState
from services.inference.triton import wire

_FIRST = 1
_LENGTH_SAMPLES = 1_600
_LENGTH_MS = 100


async def describe_whisper(server: TritonServer, deadline_seconds: float) -> wire.WhisperDescription:
    """What runs there. Raises CallFailed, also for a model that is no Whisper of ours."""
    inputs = wire.encode_description_request()
    outputs = await server.infer(wire.WHISPER, inputs, deadline_seconds=deadline_seconds, priority=_FIRST)
    return understood(lambda: wire.decode_description(outputs))


async def ask_whisper(server: TritonServer, deadline_seconds: float, language: str) -> None:
    """A tenth of a second of silence. Raises CallFailed."""
    window = wire.WindowTry(np.zeros(_LENGTH_SAMPLES, np.int16), language)
    outputs = await server.infer(wire.WHISPER, wire.encode_window(window), deadline_seconds=deadline_seconds, priority=_FIRST)
    understood(lambda: wire.decode_result(outputs))


async def ask_vad(server: TritonServer, deadline_seconds: float) -> None:
    """Four frames of silence. Raises CallFailed."""
    pcm, state = np.zeros(_LENGTH_SAMPLES, np.int16), VadState()
    outputs = await server.infer(wire.VAD, wire.encode_piece(pcm, state), deadline_seconds=deadline_seconds, priority=_FIRST)
    understood(lambda: wire.decode_probabilities(outputs, pcm, state))


async def ask_speaker(server: TritonServer, deadline_seconds: float) -> None:
    """One span of silence. Raises CallFailed."""
    inputs = wire.encode_stretch(np.zeros(_LENGTH_SAMPLES, np.int16), [(0, _LENGTH_MS)], gain=1.0)
    outputs = await server.infer(wire.SPEAKER, inputs, deadline_seconds=deadline_seconds, priority=_FIRST)
    understood(lambda: wire.decode_embeddings(outputs, 1))
