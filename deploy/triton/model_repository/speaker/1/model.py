"""The d-vector encoder: whose voice it is."""

from services.inference.triton.backend import ServedModel
from services.inference.triton.speaker_model import open_speaker


class TritonPythonModel(ServedModel):
    """The class that Triton looks for."""

    open = staticmethod(open_speaker)
