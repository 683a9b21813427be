"""What is to be learnt and from what: `order.json` and `files.json` of the training's folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Order:
    """The order's settings. seed: the same order with the same files and seed gives the same detector."""

    artifact_types: Sequence[str]
    epochs: int
    validation_split: float
    learning_rate: float
    batch_size: int
    chunk_size_ms: int
    stride_ms: int
    seed: int


@dataclass(frozen=True, slots=True)
class Annotation:
    """One label, [start_ms, end_ms); confidence 0 to 1 is how much it counts."""

    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float


@dataclass(frozen=True)
class AudioFile:
    """One file. features: .npy as `services.detection.prepare` writes it."""

    audio_id: str
    features: Path
    duration_ms: int
    annotations: Sequence[Annotation]


def read_order(folder: Path) -> Order:
    """The folder's order. Raises TypeError for a missing or an unknown setting."""
    return Order(**json.loads((folder / "order.json").read_text()))


def read_files(folder: Path) -> list[AudioFile]:
    """The folder's files, in their order."""
    return [_audio_file(folder, entry) for entry in json.loads((folder / "files.json").read_text())]


def _audio_file(folder: Path, entry: Mapping[str, Any]) -> AudioFile:
    annotations = [Annotation(**annotation) for annotation in entry["annotations"]]
    return AudioFile(entry["audio_id"], folder / entry["features"], entry["duration_ms"], annotations)
