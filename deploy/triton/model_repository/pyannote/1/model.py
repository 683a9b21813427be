"""pyannote.audio: who speaks when, of a whole recording."""

from services.inference.triton.backend import ServedModel
from services.inference.triton.pyannote_model import open_pyannote


class TritonPythonModel(ServedModel):
    """The class that Triton looks for."""

    open = staticmethod(open_pyannote)
