"""From the scores of frames to detections with times."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.detection.features import FRAME_MS

Floats = NDArray[np.float32]
Run = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Detection:
    """One found artefact, [start_ms, end_ms); confidence is the highest score inside."""

    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float


def detections_of(
    scores: Floats, artifact_types: Sequence[str], threshold: float, merge_window_ms: int, min_duration_ms: int, duration_ms: int
) -> list[Detection]:
    """What a recording holds, by start and then by type.

    scores: (frames, types) in 0..1. A frame counts from the threshold on; then what lies closer than the merge
    window to the one before of its type joins it; then what is shorter than the least duration goes.
    """
    found: list[Detection] = []
    for column, artifact_type in enumerate(artifact_types):
        for start, end in _joined(_runs(scores[:, column] >= threshold), merge_window_ms):
            start_ms, end_ms = start * FRAME_MS, min(end * FRAME_MS, duration_ms)
            if end_ms - start_ms >= max(1, min_duration_ms):
                found.append(Detection(artifact_type, start_ms, end_ms, float(scores[start:end, column].max())))
    ranks = {artifact_type: rank for rank, artifact_type in enumerate(artifact_types)}
    return sorted(found, key=lambda detection: (detection.start_ms, ranks[detection.artifact_type]))


def _runs(marks: NDArray[np.bool_]) -> list[Run]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marks, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _joined(runs: Sequence[Run], merge_window_ms: int) -> Iterator[Run]:
    pending: Run | None = None
    for start, end in runs:
        if pending and (start - pending[1]) * FRAME_MS < merge_window_ms:
            pending = (pending[0], end)
            continue
        if pending:
            yield pending
        pending = (start, end)
    if pending:
        yield pending
