"""A Whisper of random numbers and the one that ships, exported once a session, and what transformers made of the latter."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.inference.models.catalogue.bundled import BUNDLED_FOLDER
from services.inference.models.whisper.export.export import export_whisper
from services.inference.models.whisper.model import WhisperModel, load_whisper
from services.inference.models.whisper.precision import Precision
from tests.inference.models.tiny_whisper import build_tiny_whisper
from tests.inference.models.whisper_cases import REFERENCE


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of random numbers, exported at every precision."""
    folder = build_tiny_whisper(tmp_path_factory.mktemp("whisper"))
    for precision in Precision:
        export_whisper(folder, precision)
    return folder


@pytest.fixture(scope="session")
def trained_whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test Whisper that ships, exported in single precision."""
    folder = tmp_path_factory.mktemp("whisper-test")
    shutil.copytree(BUNDLED_FOLDER, folder, dirs_exist_ok=True)
    export_whisper(folder, Precision.FP32)
    return folder


@pytest.fixture(scope="session")
def whisper_reference() -> dict[str, Any]:
    """What `tools.whisper_reference write` wrote for the test Whisper."""
    reference: dict[str, Any] = json.loads(REFERENCE.read_text())
    digest = hashlib.sha256((BUNDLED_FOLDER / "model.safetensors").read_bytes()).hexdigest()
    assert digest == reference["model_sha256"], f"the model changed: run `python -m tools.whisper_reference write {BUNDLED_FOLDER}`"
    return reference


@pytest.fixture(scope="session")
def open_whisper(whisper_folder: Path) -> Callable[[Precision], WhisperModel]:
    """The model at a precision."""
    return lambda precision: load_whisper(whisper_folder, precision)
