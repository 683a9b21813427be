"""What a training says, leaves behind, and survives."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.detection.features import FEATURE_COUNT
from services.inference.models.detector import DetectorModel
from tests.inference.training.conftest import SECONDS, Trained, command, trained
from tools.detection.folder import DEFAULT_ORDER
from tools.detection.recording import ARTIFACT_TYPES


def ordered(folder: Path, rows: int, annotations: list[dict[str, Any]], **order: Any) -> Path:
    """A folder of one file of noise."""
    features = np.random.default_rng(3).normal(0.0, 1.0, (rows, FEATURE_COUNT)).astype(np.float16)
    np.save(folder / "noise.npy", features)
    entry = {"audio_id": "noise", "features": "noise.npy", "duration_ms": rows * 20, "annotations": annotations}
    (folder / "files.json").write_text(json.dumps([entry]))
    (folder / "order.json").write_text(json.dumps({**DEFAULT_ORDER, **order}))
    return folder


def labelled(start_ms: int) -> dict[str, Any]:
    """A click of 100 ms."""
    return {"artifact_type": "click", "start_ms": start_ms, "end_ms": start_ms + 100, "confidence": 1.0}


def states(path: Path) -> dict[str, Any]:
    """The arrays of a checkpoint."""
    with np.load(path) as saved:
        return dict(saved)


@pytest.fixture
def killed(training: Trained, tmp_path: Path) -> Iterator[Path]:
    """A folder whose training was killed by SIGKILL in its second epoch, with the first epoch's checkpoint to go on from."""
    folder = tmp_path / "killed"
    shutil.copytree(training.folder, folder, ignore=shutil.ignore_patterns("checkpoint-*", "detector.onnx"))
    process = subprocess.Popen(command(folder), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=SECONDS) == -signal.SIGKILL
    Path(first["checkpoint"]).rename(folder / "checkpoint.npz")
    yield folder
    shutil.rmtree(folder)


def test_epochs_are_told_one_by_one_and_get_better(training: Trained) -> None:
    epochs = training.epochs
    assert [each["epoch"] for each in epochs] == [1, 2, 3, 4, 5]
    for figure in ("training_loss", "validation_loss"):
        assert epochs[-1][figure] < 0.8 * epochs[0][figure]
    assert epochs[-1]["validation_f1_score"] > epochs[0]["validation_f1_score"]
    assert all((training.folder / f"checkpoint-00{each['epoch']}.npz").exists() for each in epochs)


def test_the_best_epoch_is_what_is_kept(training: Trained) -> None:
    best = max(each["validation_f1_score"] for each in training.epochs)
    metrics = training.done["eval_metrics"]
    assert metrics["f1_score"] == pytest.approx(best)
    assert set(metrics["per_class"]) == set(ARTIFACT_TYPES)
    assert all(each["support"] > 0 for each in metrics["per_class"].values())


def test_a_training_killed_in_an_epoch_goes_on_as_if_it_had_not_been(training: Trained, killed: Path) -> None:
    again = trained(killed)
    assert [each["epoch"] for each in again.epochs] == [2, 3, 4, 5]
    for before, after in zip(training.epochs[1:], again.epochs, strict=True):
        assert after == pytest.approx(before, rel=1e-3)
    expected, found = states(training.folder / "checkpoint-005.npz"), states(killed / "checkpoint-005.npz")
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-2, atol=1e-4, err_msg=name)
    assert again.done["eval_metrics"] == training.done["eval_metrics"]


def test_a_finished_checkpoint_is_only_exported(training: Trained, tmp_path: Path) -> None:
    folder = tmp_path / "finished"
    shutil.copytree(training.folder, folder, ignore=shutil.ignore_patterns("detector.onnx"))
    (folder / "checkpoint-005.npz").rename(folder / "checkpoint.npz")
    again = trained(folder)
    assert again.epochs == []
    assert again.done["eval_metrics"] == training.done["eval_metrics"]
    features = np.load(folder / "recording-000.npy")
    expected, found = (DetectorModel(Path(each.done["model"])).score(features) for each in (training, again))
    np.testing.assert_array_equal(found, expected)


def test_a_loss_that_diverges_fails_the_training(tmp_path: Path) -> None:
    folder = ordered(tmp_path, 1_000, [labelled(start) for start in range(0, 20_000, 1_000)], artifact_types=["click"], epochs=1)
    features = np.load(folder / "noise.npy")
    features[400:420] = np.inf
    np.save(folder / "noise.npy", features)
    assert trained(folder).lines[-1]["failed"]["reason"] == "LOSS_DIVERGED"


def test_nothing_to_learn_fails_the_training(tmp_path: Path) -> None:
    folder = ordered(tmp_path, 1_000, [], artifact_types=["click"])
    assert trained(folder).lines == [{"failed": {"reason": "NO_USABLE_DATA", "message": "no annotation lies in the audio"}}]


def test_a_training_ends_with_its_parent(training: Trained, tmp_path: Path) -> None:
    """The parent hands its own pipe on and is killed; the pipe ends when the training does."""
    folder = tmp_path / "orphaned"
    shutil.copytree(training.folder, folder, ignore=shutil.ignore_patterns("checkpoint-*", "detector.onnx"))
    (folder / "order.json").write_text(json.dumps({**DEFAULT_ORDER, "epochs": 100}))
    script = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    parent = subprocess.Popen([sys.executable, "-c", script, *command(folder)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        first = parent.stdout.readline()
        parent.kill()
        parent.wait(timeout=SECONDS)
        assert len(parent.stdout.readlines()) <= 1
    assert "epoch" in json.loads(first)
