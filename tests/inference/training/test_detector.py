"""The exported graph, as the engines run it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from services.detection.detections import detections_of
from services.detection.features import FEATURE_COUNT, features
from services.detection.metrics import Counts, event_based, macro
from services.inference.models.detector import PIECE_FRAMES, DetectorModel, ForeignDetector
from services.inference.training.material import open_material
from services.inference.training.order import read_files
from services.inference.training.split import split
from tests.inference.training.conftest import Trained
from tools.detection.carriers import TEST_VOICES
from tools.detection.generate import recordings
from tools.detection.recording import ARTIFACT_TYPES

LEAST_F1 = 0.5


@pytest.fixture
def detector(training: Trained) -> DetectorModel:
    """What the training left."""
    return DetectorModel(Path(training.done["model"]))


def test_another_voice_is_judged_too(detector: DetectorModel) -> None:
    """Five epochs on five minutes; the benchmark asks for 0.80 of a full training."""
    counts = dict.fromkeys(ARTIFACT_TYPES, Counts())
    for recording in recordings(TEST_VOICES, 3, 60.0, seed=6):
        found = detections_of(detector.score(features(recording.pcm)), detector.artifact_types, 0.5, 200, 50, len(recording.pcm) // 16)
        counts = {name: counts[name] + each for name, each in event_based(recording.labels, found, ARTIFACT_TYPES).items()}
    assert macro(counts).f1_score > LEAST_F1


def test_half_is_the_threshold_that_the_training_chose(training: Trained, detector: DetectorModel) -> None:
    """Over the held-out files the graph finds exactly what the training says."""
    files = read_files(training.folder)
    held = split(open_material(files, ARTIFACT_TYPES), 0.2, seed=1).validation
    counts = dict.fromkeys(ARTIFACT_TYPES, Counts())
    for part in held:
        scores = detector.score(np.load(files[part.file].features, mmap_mode="r"))
        found = detections_of(scores, detector.artifact_types, 0.5, 200, 50, len(scores) * 20)
        counts = {name: counts[name] + each for name, each in event_based(files[part.file].annotations, found, ARTIFACT_TYPES).items()}
    for name, told in training.done["eval_metrics"]["per_class"].items():
        assert (counts[name].precision, counts[name].recall, counts[name].expected) == (told["precision"], told["recall"], told["support"])


def test_scores_do_not_depend_on_where_pieces_end(detector: DetectorModel) -> None:
    rows = np.random.default_rng(2).normal(0.0, 1.0, (2 * PIECE_FRAMES + 100, FEATURE_COUNT)).astype(np.float32)
    whole = detector._session.run(["scores"], {"features": rows[None]})[0][0]
    np.testing.assert_allclose(detector.score(rows), whole, atol=1e-5)
    assert detector.score(rows[:0]).shape == (0, len(ARTIFACT_TYPES))


def test_metadata_tells_what_the_graph_is(training: Trained, detector: DetectorModel) -> None:
    facts = {each.key: json.loads(each.value) for each in onnx.load(training.done["model"]).metadata_props}
    assert facts["artifact_types"] == detector.artifact_types == list(ARTIFACT_TYPES)
    told = training.done["eval_metrics"]["per_class"]
    assert facts["thresholds"] == [told[name]["threshold"] for name in ARTIFACT_TYPES]
    assert (facts["features_version"], facts["frame_ms"]) == (1, 20)


def test_what_is_no_detector_is_refused(training: Trained, detector: DetectorModel, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(ForeignDetector):
        DetectorModel(tmp_path / "text.onnx")
    with pytest.raises(ForeignDetector):
        detector.score(np.zeros((5, FEATURE_COUNT - 1), np.float32))
    model = onnx.load(training.done["model"])
    for each in model.metadata_props:
        each.value = "2" if each.key == "features_version" else each.value
    onnx.save_model(model, tmp_path / "newer.onnx")
    with pytest.raises(ForeignDetector):
        DetectorModel(tmp_path / "newer.onnx")
