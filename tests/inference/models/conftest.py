"""A small Whisper, exported once a session, and what transformers made of it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
def whisper_reference(whisper_folder: Path) -> dict[str, Any]:
    """What `tools.whisper_reference write` wrote for this very model."""
    reference: dict[str, Any] = json.loads(REFERENCE.read_text())
    digest = hashlib.sha256((whisper_folder / "model.safetensors").read_bytes()).hexdigest()
    assert digest == reference["model_sha256"], "the model changed: run `python -m tools.whisper_reference write`"
    return reference


@pytest.fixture(scope="session")
def open_whisper(whisper_folder: Path) -> Callable[[Precision], WhisperModel]:
    """The model at a precision."""
    return lambda precision: load_whisper(whisper_folder, precision)
