"""Between Triton's Python backend and our models; importable only inside the backend, which brings `triton_python_backend_utils`."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import triton_python_backend_utils as backend

from services.inference.triton.host import Cancelled, Host, Patience, Row, answers_of
from services.inference.triton.parameters import Parameters, read_parameters
from services.inference.triton.wire import BadRequest

NICENESS = 10
OUTCOMES = ("answered", "refused", "cancelled", "failed")
METRIC = "steno_triton_requests"
METRIC_DESCRIPTION = "Requests of a model by how they ended; Triton's own counters take a refusal for a success"


class ServedModel(ABC):
    """What every model.py of the repository subclasses as `TritonPythonModel`."""

    @staticmethod
    @abstractmethod
    def open(parameters: Parameters) -> Host:
        """Load the model. Raises whatever keeps it from being ready."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the model and run it once. Whatever is raised becomes the reason why the model is not ready."""
        # The control plane shares a small machine with us.
        os.nice(NICENESS)
        self._host = type(self).open(read_parameters(args, os.environ))
        self._counters = Counters(args["model_name"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request: its result or its own error."""
        return [self._respond(answer) for answer in answers_of(self._host, [_row(request) for request in requests])]

    def _respond(self, answer: Any) -> Any:
        outcome, response = _response(answer)
        self._counters.count(outcome)
        return response


def _row(request: Any) -> Row:
    return Row({tensor.name(): tensor.as_numpy() for tensor in request.inputs()}, Patience(request.is_cancelled))


def _response(answer: Any) -> tuple[str, Any]:
    if isinstance(answer, BadRequest):
        return "refused", _refusal(str(answer), backend.TritonError.INVALID_ARG)
    if isinstance(answer, Cancelled):
        return "cancelled", _refusal("cancelled", backend.TritonError.CANCELLED)
    if isinstance(answer, Exception):
        backend.Logger.log_error(f"{type(answer).__name__}: {answer}")
        return "failed", _refusal(f"{type(answer).__name__}: {answer}", backend.TritonError.INTERNAL)
    return "answered", backend.InferenceResponse([backend.Tensor(name, array) for name, array in answer.items()])


def _refusal(message: str, code: Any) -> Any:
    return backend.InferenceResponse(output_tensors=[], error=backend.TritonError(message, code))


class Counters:
    """Requests by outcome; none where the server was told to keep no metrics."""

    def __init__(self, model: str) -> None:
        self._metrics: dict[str, Any] = {}
        try:
            # Kept: its metrics end with it.
            self._family = backend.MetricFamily(name=METRIC, description=METRIC_DESCRIPTION, kind=backend.MetricFamily.COUNTER)
            self._metrics = {outcome: self._family.Metric(labels={"model": model, "outcome": outcome}) for outcome in OUTCOMES}
        except backend.TritonModelException as error:
            backend.Logger.log_info(f"no metrics: {error}")

    def count(self, outcome: str) -> None:
        """One request more."""
        if outcome in self._metrics:
            self._metrics[outcome].increment(1)
