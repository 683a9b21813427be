"""What cannot be loaded says why."""

import threading
from pathlib import Path

import numpy as np
import pytest

from services.inference.models.catalogue.errors import ModelMissing
from services.inference.models.catalogue.installed import InstalledModel
from services.inference.models.catalogue.manifest import Manifest
from services.inference.models.whisper.graphs import CPU_PROVIDER, CUDA_PROVIDER
from services.inference.models.whisper.precision import Precision
from services.inference.pcm import SAMPLE_RATE_HZ
from services.inference.triton.host import Row
from services.inference.triton.parameters import Parameters
from services.inference.triton.whisper_model import open_whisper, placements
from services.inference.triton.wire import WindowTry, encode_window


def parameters(directory: Path, **changed: str) -> Parameters:
    """As config.pbtxt has them."""
    configured = {"models_directory": str(directory), "whisper_model": "steno-whisper-test", "threads": "1", "beams": "1"}
    return Parameters(configured | changed, {})


def test_missing_model_or_precision_is_named(models_directory: Path) -> None:
    with pytest.raises(ModelMissing, match="steno models pull"):
        open_whisper(parameters(models_directory, whisper_model="small"))
    with pytest.raises(ModelMissing, match="int8"):
        open_whisper(parameters(models_directory, precision="int8"))


def test_wish_that_this_machine_cannot_meet_is_an_error_and_not_slow(models_directory: Path) -> None:
    with pytest.raises(ValueError, match="GPU"):
        open_whisper(parameters(models_directory, providers="cuda"))
    with pytest.raises(ValueError, match="providers is"):
        open_whisper(parameters(models_directory, providers="tpu"))


def exported(*precisions: Precision) -> InstalledModel:
    """A model of which so much is there."""
    return InstalledModel(Path(), Manifest("one", "", "", "", ("en",), False, {}, {precision: {} for precision in precisions}))


@pytest.mark.parametrize(
    ("precisions", "wanted", "placed"),
    [
        (tuple(Precision), "auto", [("cuda", "fp16"), ("cpu", "int8")]),
        ((Precision.INT8,), "auto", [("cpu", "int8")]),
        ((Precision.FP32, Precision.INT8), "int8", [("cpu", "int8")]),
        ((Precision.FP32,), "fp32", [("cuda", "fp32"), ("cpu", "fp32")]),
    ],
)
def test_whole_numbers_stay_off_the_gpu(precisions: tuple[Precision, ...], wanted: str, placed: list[tuple[str, str]]) -> None:
    asked = parameters(Path(), precision=wanted, providers="auto")
    found = list(placements(exported(*precisions), asked, [CUDA_PROVIDER, CPU_PROVIDER]))
    assert [("cuda" if CUDA_PROVIDER in providers else "cpu", precision) for providers, precision in found] == placed
    assert {CPU_PROVIDER in providers for providers, _ in found} == {True}


@pytest.mark.parametrize(("threads", "in_parts"), [("1", False), ("2", True)])
def test_batch_of_a_small_model_goes_in_parts(threads: str, in_parts: bool, models_directory: Path) -> None:
    host = open_whisper(parameters(models_directory, threads=threads))
    hearers: set[int] = set()

    def cancelled() -> bool:
        hearers.add(threading.get_ident())
        return False

    window = encode_window(WindowTry(np.zeros(SAMPLE_RATE_HZ, np.int16), "en"))
    answers = host.answer([Row(window, cancelled)] * 4)
    assert all(isinstance(answer, dict) for answer in answers)
    assert (threading.get_ident() not in hearers) is in_parts
