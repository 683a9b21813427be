"""Between Triton's Python backend and our models; importable only inside the backend, which brings `triton_python_backend_utils`."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import triton_python_backend_utils as backend

from services.inference.triton.host import Cancelled, Host, Patience, Row, answers_of
from services.inference.triton.parameters import Parameters, read_parameters
from services.inference.triton.wire import BadRequest

NICENESS = 10


class ServedModel:
    """What every model.py of the repository subclasses as `TritonPythonModel`."""

    open: ClassVar[Callable[[Parameters], Host]]

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the model and run it once. Whatever is raised becomes the reason why the model is not ready."""
        # The control plane shares a small machine with us.
        os.nice(NICENESS)
        self._host = type(self).open(read_parameters(args, os.environ))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request: its result or its own error."""
        rows = [
            Row({tensor.name(): tensor.as_numpy() for tensor in request.inputs()}, Patience(request.is_cancelled)) for request in requests
        ]
        return [_response(answer) for answer in answers_of(self._host, rows)]


def _row(request: Any) -> Row:
    return Row({tensor.name(): tensor.as_numpy() for tensor in request.inputs()}, Patience(request.is_cancelled))


def _response(answer: Any) -> Any:
    if isinstance(answer, BadRequest):
        return _refusal(str(answer), backend.TritonError.INVALID_ARG)
    if isinstance(answer, Cancelled):
        return _refusal("cancelled", backend.TritonError.CANCELLED)
    if isinstance(answer, Exception):
        backend.Logger.log_error(f"{type(answer).__name__}: {answer}")
        return _refusal(f"{type(answer).__name__}: {answer}", backend.TritonError.INTERNAL)
    return backend.InferenceResponse([backend.Tensor(name, array) for name, array in answer.items()])


def _refusal(message: str, code: Any) -> Any:
    return backend.InferenceResponse(error=backend.TritonError(message, code))
