"""What the training process says, a line of JSON at a time."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf.json_format import ParseDict

from services.inference.domain import TrainingFailed
from steno.jobs.v1.detector_pb2 import EpochMetrics, EvaluationMetrics


@dataclass(frozen=True)
class EpochDone:
    """An epoch, and the state to go on from after it, in a file that no later epoch touches."""

    metrics: EpochMetrics
    checkpoint: Path


@dataclass(frozen=True)
class TrainingDone:
    """The detector, and how good it is."""

    model: Path
    eval_metrics: EvaluationMetrics


@dataclass(frozen=True)
class TrainingEnded:
    """No more will be said; why."""

    error: Exception


Report: TypeAlias = EpochDone | TrainingDone | TrainingEnded


def read_report(line: bytes) -> Report | None:
    """None for a line that is none of ours. Raises json_format.ParseError for figures that are none."""
    said = _object(line)
    match said:
        case {"epoch": dict(metrics), "checkpoint": str(checkpoint)}:
            return EpochDone(ParseDict(metrics, EpochMetrics(), ignore_unknown_fields=True), Path(checkpoint))
        case {"done": {"model": str(model), "eval_metrics": dict(metrics)}}:
            return TrainingDone(Path(model), ParseDict(metrics, EvaluationMetrics(), ignore_unknown_fields=True))
        case {"failed": {"message": str(message)}}:
            return TrainingEnded(TrainingFailed(message))
        case _:
            return None


def _object(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
