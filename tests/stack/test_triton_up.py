"""`steno up --engine triton`: the whole mesh over a tritonserver of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.stack.data_directory import DataDirectory
from services.stack.triton.embedded import ADDRESS, prepare_triton
from services.stack.triton.failures import TritonUnavailable
from services.stack.triton.health import is_ready
from services.stack.triton.interpreter import VARIABLE
from tests.stack.conftest import alive, until
from tests.stack.triton_world import regions
from tests.triton_server import interpreter

ROOT = Path(__file__).parents[2]
READY_SECONDS = 180.0


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter that make prepared, for everything that is started here."""
    monkeypatch.setenv(VARIABLE, str(interpreter().executable.parent.parent))


def _ready(process: "subprocess.Popen[str]", ready_file: Path) -> dict[str, Any]:
    end = time.monotonic() + READY_SECONDS
    while not ready_file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "not ready in time"
        time.sleep(0.05)
    document: dict[str, Any] = json.loads(ready_file.read_text())
    return document


def _servers(parent: int) -> list[int]:
    return [child.pid for child in psutil.Process(parent).children() if child.name() == "tritonserver"]


async def test_mesh_runs_on_its_own_triton_and_takes_it_along(tmp_path: Path) -> None:
    ready_file, data = tmp_path / "ready.json", tmp_path / "data"
    command = [sys.executable, "-P", "-m", "services.cli", "up", "--engine", "triton", "--data", str(data), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"}
    with subprocess.Popen(
        [*command, "--ready-file", str(ready_file)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            ready = _ready(process, ready_file)
            assert [(model["engine"], model["production"], model["test"]) for model in ready["models"]] == [("triton", False, True)]
            (first,) = _servers(process.pid)
            assert await is_ready(ready["triton"]["grpc"])
            assert (data / "triton" / "detectors").is_dir()
            assert "detectors run beside Triton" not in (data / "logs" / "inference.log").read_text(), "it serves them itself"

            os.kill(first, signal.SIGKILL)
            await until(lambda: _servers(process.pid) not in ([], [first]))
            end = time.monotonic() + READY_SECONDS
            while not await is_ready(ready["triton"]["grpc"]):
                assert time.monotonic() < end
            left = psutil.Process(process.pid).children(recursive=True)
        finally:
            process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=40)
    assert process.returncode == 0
    assert "triton engine" in out
    assert "This is a test model" in out
    assert not any(alive(child.pid) for child in left)
    assert regions(data / "triton") == set()


def test_triton_elsewhere_needs_none_here(tmp_path: Path) -> None:
    assert prepare_triton(DataDirectory(tmp_path), {ADDRESS: "triton.example:8001"}, lambda _: None) is None


def test_model_that_is_not_installed_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TritonUnavailable, match="steno models pull small"):
        prepare_triton(DataDirectory(tmp_path), {"STENO_INFERENCE_MODEL": "small"}, lambda _: None)
