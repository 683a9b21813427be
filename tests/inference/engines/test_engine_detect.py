"""Detectors in the local engine's processes, and recordings of any length through them in pieces."""

from pathlib import Path

import numpy as np
import pytest

from services.detection.features import FEATURE_COUNT, features
from services.inference.detecting import MARGIN_FRAMES, score
from services.inference.engines.engine import EngineFailed, StoredDetector
from services.inference.engines.local import LocalEngine
from services.inference.engines.worker import MOST_DETECTORS
from services.inference.models.detector import DetectorModel
from services.inference.training.shape import CONTEXT_FRAMES
from tests.inference.detection_data import LOUD, QUIET, noise, write_detector


@pytest.fixture
def detector(tmp_path: Path) -> StoredDetector:
    return StoredDetector("one", write_detector(tmp_path / "one.onnx"))


async def test_process_says_what_the_model_says_here(engine: LocalEngine, detector: StoredDetector) -> None:
    rows = features(noise(20, [(3_000, 4_000)]))
    found = await engine.detect(detector, rows)
    assert found.artifact_types == (LOUD, QUIET)
    np.testing.assert_array_equal(found.scores, DetectorModel(detector.path).score(rows))


async def test_many_detectors_take_turns_in_a_process(engine: LocalEngine, tmp_path: Path) -> None:
    rows = features(noise(1))
    stored = [StoredDetector(str(n), write_detector(tmp_path / f"{n}.onnx")) for n in range(MOST_DETECTORS + 2)]
    first = (await engine.detect(stored[0], rows)).scores
    for one in [*stored, stored[0]]:
        np.testing.assert_array_equal((await engine.detect(one, rows)).scores, first)


async def test_file_that_is_no_detector_fails_alone(engine: LocalEngine, detector: StoredDetector, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    rows = features(noise(1))
    with pytest.raises(EngineFailed, match="ForeignDetector"):
        await engine.detect(StoredDetector("text", tmp_path / "text.onnx"), rows)
    with pytest.raises(EngineFailed):
        await engine.detect(detector, np.zeros((3, FEATURE_COUNT - 1), np.float16))
    assert len((await engine.detect(detector, rows)).scores) == 50


async def test_long_recording_is_scored_as_if_in_one_piece(engine: LocalEngine, detector: StoredDetector) -> None:
    block_frames = 1_000
    block_ms = block_frames * 20
    pcm = noise(block_ms * 2 // 1_000 + 7, [(block_ms - 300, block_ms + 300), (2 * block_ms - 20, 2 * block_ms + 400)])
    shares: list[float] = []
    found = await score(engine, detector, pcm, shares.append, block_frames)
    whole = DetectorModel(detector.path).score(features(pcm))
    np.testing.assert_allclose(found.scores, whole, atol=1e-6)
    assert shares == sorted(shares)
    assert (len(shares), shares[-1]) == (3, 1.0)
    assert MARGIN_FRAMES > CONTEXT_FRAMES, "what a frame hears lies in its block or the margin"


async def test_recording_without_a_sample_has_no_scores(engine: LocalEngine, detector: StoredDetector) -> None:
    found = await score(engine, detector, np.zeros(0, np.int16), lambda share: None)
    assert found.scores.shape == (0, 2)
