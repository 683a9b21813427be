"""What cannot be loaded says why."""

from pathlib import Path

import pytest

from services.inference.models.catalogue.errors import ModelMissing
from services.inference.triton.parameters import Parameters
from services.inference.triton.whisper_model import open_whisper


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
