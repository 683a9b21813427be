"""Installed models are listed, exported, checked and removed."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from services.inference.models.catalogue.installed import find_model
from services.inference.models.catalogue.manifest import MANIFEST_FILE
from services.inference.models.whisper.precision import Precision
from tests.models_cli.conftest import NAME, ROOT, Outcome

Run = Callable[..., Outcome]


def test_the_list_has_what_is_installed_and_what_can_be(models: Run, installed: Path) -> None:
    document = json.loads(models("list", "--json").out)
    (model,) = document["installed"]
    assert (model["name"], model["precisions"], model["languages"]) == (NAME, ["int8"], ["en", "zh", "de", "es"])
    assert (model["test"], model["bundled"], model["folder"]) == (False, False, str(installed))
    assert model["size_bytes"] > sum(record["size"] for record in json.loads((installed / MANIFEST_FILE).read_text())["files"].values())
    assert {"tiny", "base", "small", "medium", "large-v3", "large-v3-turbo"} <= {known["pull"] for known in document["known"]}
    table = models("list").out
    assert f"{NAME}\tinstalled" in table
    assert "steno models pull small" in table


def test_a_directory_of_its_own_can_be_named(models: Run, installed: Path, tmp_path: Path) -> None:
    elsewhere = models("list", "--json", STENO_INFERENCE_MODELS_DIRECTORY=str(tmp_path))
    assert json.loads(elsewhere.out)["installed"] == []
    assert json.loads(models("list", "--json", "--models-directory", str(installed.parent)).out)["installed"]


def test_export_adds_a_precision(models: Run, installed: Path) -> None:
    outcome = models("export", NAME, "--precision", "fp32,fp16")
    assert outcome.status == 0, outcome.err
    assert find_model(installed.parent, NAME).precisions == tuple(Precision)
    assert models("verify").status == 0


def test_an_unknown_precision_is_wrong_usage(models: Run, installed: Path) -> None:
    outcome = models("export", NAME, "--precision", "int4")
    assert outcome.status == 2
    assert "int4" in outcome.err


@pytest.mark.parametrize(
    ("file", "advice"),
    [
        ("model.safetensors", "steno models pull"),
        ("tokenizer.json", "steno models pull"),
        ("onnx/int8/encoder.onnx.data", "steno models export whisper-nonsense --precision int8"),
    ],
)
def test_a_changed_file_is_found(file: str, advice: str, models: Run, installed: Path) -> None:
    content = bytearray((installed / file).read_bytes())
    content[len(content) // 2] ^= 1
    (installed / file).write_bytes(content)
    outcome = models("verify")
    assert outcome.status == 1
    assert file in outcome.out
    assert advice in outcome.out


def test_a_graph_that_does_not_run_is_found_though_its_digest_is_right(models: Run, installed: Path) -> None:
    (installed / "onnx" / "int8" / "rows.onnx").write_bytes(b"no graph")
    manifest = json.loads((installed / MANIFEST_FILE).read_text())
    manifest["exports"]["int8"]["onnx/int8/rows.onnx"] = hashlib.sha256(b"no graph").hexdigest()
    (installed / MANIFEST_FILE).write_text(json.dumps(manifest))
    outcome = models("verify", NAME)
    assert outcome.status == 1
    assert "int8 does not transcribe" in outcome.out
    assert models("export", NAME, "--precision", "int8").status == 0
    assert models("verify", NAME).status == 0


def test_an_unreadable_manifest_and_a_missing_model_are_found(models: Run, installed: Path) -> None:
    assert models("verify", "small").status == 1
    (installed / MANIFEST_FILE).write_text("{")
    outcome = models("verify")
    assert outcome.status == 1
    assert "pull the model again" in outcome.out


def test_remove_asks_and_takes_yes(models: Run, installed: Path) -> None:
    refused = models("remove", NAME)
    assert refused.status == 2
    assert "--yes" in refused.err
    assert installed.exists()
    assert models("remove", NAME, "--yes").status == 0
    assert not [path for path in installed.parent.iterdir() if path.is_dir()]
    assert "no model" in models("remove", NAME, "--yes").err


def test_without_the_exporter_the_packages_to_install_are_told(installed: Path) -> None:
    program = "import sys\nsys.modules['onnx'] = sys.modules['safetensors'] = None\nfrom services.cli import main\nmain()\n"
    for arguments in (["export", NAME], ["verify", NAME]):
        command = [sys.executable, "-c", program, "models", *arguments, "--models-directory", str(installed.parent)]
        outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
        assert outcome.returncode == 1
        assert "install steno[inference,whisper-export]" in outcome.stderr
        assert "Traceback" not in outcome.stderr


def test_up_runs_an_installed_model(installed: Path, data: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "services.cli", "up", "--port", "0", "--model", NAME, "--data", str(data), "--ready-file", str(ready)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        until = time.monotonic() + 120
        while not ready.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        models = json.loads(ready.read_text())["models"] if ready.exists() else []
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert [(model["name"], model["engine"], model["production"]) for model in models] == [(NAME, "local", True)], err
    assert "languages: en, zh, de, es" in out


def test_up_with_a_model_that_is_not_there_says_how_to_get_it(data: Path) -> None:
    command = [sys.executable, "-m", "services.cli", "up", "--port", "0", "--model", "small", "--data", str(data)]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert outcome.returncode == 1
    assert "steno models pull small" in outcome.stderr
