"""Recordings as the folder that `python -m services.inference.training` takes."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from services.detection.features import SAMPLE_RATE_HZ, features
from tools.detection.recording import ARTIFACT_TYPES, Recording

DEFAULT_ORDER = {
    "artifact_types": list(ARTIFACT_TYPES),
    "epochs": 20,
    "validation_split": 0.2,
    "learning_rate": 0.001,
    "batch_size": 32,
    "chunk_size_ms": 500,
    "stride_ms": 250,
    "seed": 1,
}


def write_folder(folder: Path, made: Sequence[Recording], **order: Any) -> Path:
    """Write features, labels and the order, changed as told; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = [_entry(folder, f"recording-{index:03d}", recording) for index, recording in enumerate(made)]
    (folder / "files.json").write_text(json.dumps(entries))
    (folder / "order.json").write_text(json.dumps({**DEFAULT_ORDER, **order}))
    return folder


def _entry(folder: Path, name: str, recording: Recording) -> dict[str, Any]:
    np.save(folder / f"{name}.npy", features(recording.pcm))
    annotations = [{**asdict(label), "confidence": 1.0} for label in recording.labels]
    duration_ms = -(-len(recording.pcm) * 1_000 // SAMPLE_RATE_HZ)
    return {"audio_id": name, "features": f"{name}.npy", "duration_ms": duration_ms, "annotations": annotations}
