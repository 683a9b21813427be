"""The hub, a model to put on it, and the command line against it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.inference.models.whisper.precision import Precision
from services.models_cli.pulling import Pull, run_pull
from tests.hub import Hub, Repository, open_hub, read_folder
from tests.inference.models.tiny_whisper import build_tiny_whisper

ROOT = Path(__file__).parents[2]
REPOSITORY = "someone/whisper-nonsense"
NAME = "whisper-nonsense"


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Whisper of random numbers, as somebody would publish it."""
    folder = build_tiny_whisper(tmp_path_factory.mktemp("published") / NAME)
    (folder / "README.md").write_text("---\nlicense: mit\n---\nNonsense.\n")
    return folder


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[Hub]:
    """The hub with the model, beside files that nobody here needs."""
    with open_hub() as opened:
        files = read_folder(checkpoint) | {"pytorch_model.bin": b"p" * 50_000, "flax_model.msgpack": b"f" * 50_000}
        opened.repositories[REPOSITORY] = Repository(files)
        yield opened


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder."""
    return tmp_path / "data"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """The model as installed from a folder, to be copied."""
    directory = tmp_path_factory.mktemp("prepared")
    run_pull(Pull(str(checkpoint), directory, [Precision.INT8]))
    return directory / NAME


@pytest.fixture
def installed(prepared: Path, data: Path) -> Path:
    """The folder of an installed model."""
    return Path(shutil.copytree(prepared, data / "models" / NAME))


@pytest.fixture
def spawn(hub: Hub, data: Path, tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts `steno models ...` as a process of its own."""

    def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "STENO_"))}
        paths = f"{ROOT}{os.pathsep}{ROOT / 'protos'}"
        settings: dict[str, Any] = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": paths, **environment}
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "services.cli", "models", *arguments, "--data", str(data)],
            env=kept | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def models(spawn: Callable[..., "subprocess.Popen[str]"]) -> Callable[..., Outcome]:
    """Runs `steno models ...` to its end."""

    def run(*arguments: str, **environment: str) -> Outcome:
        with spawn(*arguments, **environment) as process:
            out, err = process.communicate(timeout=120)
        return Outcome(process.returncode, out, err)

    return run
