"""The share of speech below which a job costs nothing has two names; what is not installed is not offered."""

import sys

import pytest

from services.inference.settings import InferenceSettings
from services.mesh.settings import read_settings


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STENO_INFERENCE_MIN_SPEECH_RATIO", "STENO_VAD_MIN_SPEECH_RATIO"):
        monkeypatch.delenv(name, raising=False)


def test_the_least_share_of_speech_is_read_under_both_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert InferenceSettings().min_speech_ratio == 0.05
    monkeypatch.setenv("STENO_VAD_MIN_SPEECH_RATIO", "0.2")
    assert InferenceSettings().min_speech_ratio == 0.2
    monkeypatch.setenv("STENO_INFERENCE_MIN_SPEECH_RATIO", "0.1")
    assert InferenceSettings().min_speech_ratio == 0.1
    assert InferenceSettings(min_speech_ratio=0.3).min_speech_ratio == 0.3


def test_a_bad_share_is_reported_under_its_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STENO_INFERENCE_MIN_SPEECH_RATIO", "9")
    with pytest.raises(SystemExit):
        read_settings(InferenceSettings)
    assert capsys.readouterr().err.startswith("STENO_INFERENCE_MIN_SPEECH_RATIO: ")


@pytest.mark.parametrize("package", ["jax", "onnx", "optax"])
def test_machine_without_the_packages_that_train_takes_no_training(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert InferenceSettings().trainings_in_hand == 1
    assert InferenceSettings(training_slots=0).trainings_in_hand == 0
    monkeypatch.setitem(sys.modules, package, None)
    assert InferenceSettings(training_slots=3).trainings_in_hand == 0
