"""Trainings of generated recordings, each in a child process as in the service: JAX does not bear the forks of other tests."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tools.detection.carriers import TRAINING_VOICES
from tools.detection.folder import write_folder
from tools.detection.generate import recordings

SECONDS = 280


@dataclass(frozen=True)
class Trained:
    """A finished training: its folder and the lines that it said."""

    folder: Path
    lines: list[dict[str, Any]]

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The metrics of its epochs."""
        return [line["epoch"] for line in self.lines if "epoch" in line]

    @property
    def done(self) -> dict[str, Any]:
        """What it ended with."""
        done: dict[str, Any] = self.lines[-1]["done"]
        return done


def command(folder: Path) -> list[str]:
    """How the service starts a training."""
    return [sys.executable, "-m", "services.inference.training", str(folder)]


def trained(folder: Path) -> Trained:
    """The folder's training, from where it stands to its end."""
    said = subprocess.run(command(folder), check=True, stdout=subprocess.PIPE, text=True, timeout=SECONDS).stdout
    return Trained(folder, [json.loads(line) for line in said.splitlines()])


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The trainings share what XLA compiles, which is most of their work here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        yield


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Five minutes of generated speech, learnt for a few epochs."""
    made = recordings(TRAINING_VOICES, 6, 50.0, seed=5, varied=True)
    return trained(write_folder(tmp_path_factory.mktemp("training"), made, epochs=5, learning_rate=0.003))
