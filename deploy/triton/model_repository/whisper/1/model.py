"""Whisper: a window of speech to words."""

from services.inference.triton.backend import ServedModel
from services.inference.triton.whisper_model import open_whisper


class TritonPythonModel(ServedModel):
    """The class that Triton looks for."""

    open = staticmethod(open_whisper)
