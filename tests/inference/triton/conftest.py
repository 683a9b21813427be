"""A tritonserver with our models, and a way to ask it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from services.inference.models.catalogue.bundled import TEST_MODEL, install_bundled
from services.inference.models.whisper.model import WhisperModel, load_whisper
from services.inference.pcm import Pcm
from services.stack.triton.deployment import find_deployment
from tests.inference.models.tiny_whisper import build_tiny_whisper


@pytest.fixture(scope="session")
def models_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With the Whisper of random numbers under the name of the test model."""
    directory = tmp_path_factory.mktemp("models")
    install_bundled(directory, source=build_tiny_whisper(tmp_path_factory.mktemp("tiny")))
    return directory


@pytest.fixture(scope="session")
def whisper(models_directory: Path) -> WhisperModel:
    """The same model in this process."""
    return load_whisper(models_directory / TEST_MODEL)


@pytest.fixture
def changed_repository(tmp_path: Path) -> Callable[[str, str, str], Path]:
    """Our repository with one text of a model's configuration replaced."""

    def change(model: str, before: str, after: str) -> Path:
        repository = shutil.copytree(find_deployment() / "model_repository", tmp_path / "repository")
        config = repository / model / "config.pbtxt"
        assert before in config.read_text()
        config.write_text(config.read_text().replace(before, after))
        return repository

    return change


def windows_of(pcm: Pcm, count: int, seconds: int = 4) -> list[Pcm]:
    """Windows of slightly different lengths."""
    return [pcm[place * 32_000 : place * 32_000 + seconds * 16_000 + place * 160] for place in range(count)]
