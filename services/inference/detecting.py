"""A detector over a whole recording, some minutes at a time."""

import asyncio
from collections.abc import Callable

import numpy as np

from services.detection.features import FRAME_MS, FRAME_SAMPLES, features, frame_count
from services.inference.engines.engine import DetectorScores, Engine, StoredDetector
from services.inference.pcm import Features, Pcm
from services.mesh import semconv
from services.mesh.semconv import Step
from services.mesh.tracing.spans import span

BLOCK_FRAMES = 5 * 60_000 // FRAME_MS
# What a detector may have to hear before and after a frame.
MARGIN_FRAMES = 10_000 // FRAME_MS


async def score(
    engine: Engine, detector: StoredDetector, pcm: Pcm, progress: Callable[[float], None], block_frames: int = BLOCK_FRAMES
) -> DetectorScores:
    """Scores of every 20 ms. progress: gets the share that is done. Raises EngineFailed."""
    frames = frame_count(len(pcm))
    parts: list[DetectorScores] = []
    for start in range(0, max(1, frames), block_frames):
        first, end = max(0, start - MARGIN_FRAMES), min(frames, start + block_frames + MARGIN_FRAMES)
        with span(Step.FEATURES), semconv.STAGE_SECONDS.labels("detection_features").time():
            rows = await asyncio.to_thread(_rows, pcm, first, end)
        with span(Step.SCORES), semconv.STAGE_SECONDS.labels("detection_scores").time():
            found = await engine.detect(detector, rows)
        parts.append(DetectorScores(found.artifact_types, found.scores[start - first : start - first + block_frames]))
        progress(min(1.0, (start + block_frames) / max(1, frames)))
    return DetectorScores(parts[0].artifact_types, np.concatenate([part.scores for part in parts]))


def _rows(pcm: Pcm, first: int, end: int) -> Features:
    """Features of the frames [first, end), from samples in memory of their own."""
    return features(np.array(pcm[first * FRAME_SAMPLES : end * FRAME_SAMPLES]))
