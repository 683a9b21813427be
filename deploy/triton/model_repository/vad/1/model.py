"""Silero: where speech is."""

from services.inference.triton.backend import ServedModel
from services.inference.triton.vad_model import open_vad


class TritonPythonModel(ServedModel):
    """The class that Triton looks for."""

    open = staticmethod(open_vad)
