"""Files as the network learns them: features on disk, labels per frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.detection.features import FEATURE_COUNT, FRAME_MS, Features
from services.inference.training.failures import NoUsableData
from services.inference.training.order import Annotation, AudioFile

# Labels of clicks are shorter than the shortest detection that people are shown by default, 50 ms.
LEAST_MARK_FRAMES = 4
FULL_CONFIDENCE = 255
_BLOCK_FRAMES = 65_536

Marks = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Material:
    """One file. features: (frames, FEATURE_COUNT) on disk. marks: (frames, types), 0 without the type, else its confidence of 255."""

    features: Features
    marks: Marks
    events: Sequence[Annotation]


@dataclass(frozen=True)
class Norm:
    """What makes features of mean 0 and deviation 1: each (FEATURE_COUNT,) float32."""

    mean: Floats
    deviation: Floats

    def applied(self, features: Features | Floats) -> Floats:
        """The features so scaled."""
        return (np.asarray(features, np.float32) - self.mean) / self.deviation


def open_material(files: Sequence[AudioFile], artifact_types: Sequence[str]) -> list[Material]:
    """The files with at least one frame. Raises NoUsableData for features of another form."""
    opened = [_open(file, artifact_types) for file in files]
    return [material for material in opened if len(material.features)]


def _open(file: AudioFile, artifact_types: Sequence[str]) -> Material:
    features = np.load(file.features, mmap_mode="r")
    if features.ndim != 2 or features.shape[1] != FEATURE_COUNT:
        raise NoUsableData(f"the features of {file.audio_id} are of another version")
    events = united([event for event in file.annotations if event.artifact_type in artifact_types])
    marks = np.zeros((len(features), len(artifact_types)), np.uint8)
    for event in events:
        span = slice(*marked_frames(event, len(features)))
        column = marks[span, artifact_types.index(event.artifact_type)]
        column[:] = np.maximum(column, max(1, round(event.confidence * FULL_CONFIDENCE)))
    return Material(features, marks, events)


def marked_frames(event: Annotation, frames: int) -> tuple[int, int]:
    """The frames that an event touches, widened about its middle where those are few."""
    start, end = event.start_ms // FRAME_MS, -(-event.end_ms // FRAME_MS)
    missing = max(0, LEAST_MARK_FRAMES - (end - start))
    return max(0, start - missing // 2), min(frames, end + missing - missing // 2)


def united(events: Sequence[Annotation]) -> list[Annotation]:
    """Events of one type that overlap are one: two people may have marked the same. By start."""
    kept: dict[str, list[Annotation]] = {}
    for event in sorted(events, key=lambda event: event.start_ms):
        own = kept.setdefault(event.artifact_type, [])
        overlapping = own.pop() if own and event.start_ms < own[-1].end_ms else event
        end_ms, confidence = max(overlapping.end_ms, event.end_ms), max(overlapping.confidence, event.confidence)
        own.append(Annotation(event.artifact_type, overlapping.start_ms, end_ms, confidence))
    return sorted((event for own in kept.values() for event in own), key=lambda event: event.start_ms)


def norm_of(spans: Sequence[Features]) -> Norm:
    """Mean and deviation over all frames, read a block at a time."""
    count, total, squares = 0, np.zeros(FEATURE_COUNT), np.zeros(FEATURE_COUNT)
    for span in spans:
        for start in range(0, len(span), _BLOCK_FRAMES):
            block = np.asarray(span[start : start + _BLOCK_FRAMES], np.float64)
            count, total, squares = count + len(block), total + block.sum(axis=0), squares + np.square(block).sum(axis=0)
    mean = total / max(1, count)
    variance = np.maximum(squares / max(1, count) - np.square(mean), 1e-4)
    return Norm(mean.astype(np.float32), np.sqrt(variance).astype(np.float32))
