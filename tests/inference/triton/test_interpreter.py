"""The models run where there are numpy, onnxruntime and tokenizers, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

from tests.triton_server import interpreter

ROOT = Path(__file__).parents[3]
MODELS = ("whisper_model", "vad_model", "speaker_model", "pyannote_model", "wire", "host", "parameters")
PACKAGES = {"numpy", "onnxruntime", "tokenizers", "services"}
PROGRAM = """
import importlib, importlib.abc, json, sys
allowed = set(json.loads(sys.argv[2])) | set(sys.stdlib_module_names)
class Others(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"{name} is not in the interpreter of the models")
sys.meta_path.insert(0, Others())
sys.path.insert(0, sys.argv[3])
for name in json.loads(sys.argv[1]):
    importlib.import_module(f"services.inference.triton.{name}")
print(sys.modules["numpy"].__version__, sorted(name for name in sys.modules if name.startswith("services.")))
"""


def load(python: Path | str, modules: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Import our modules with every other package out of reach."""
    arguments = [json.dumps(modules), json.dumps(sorted(PACKAGES)), str(ROOT)]
    return subprocess.run([python, "-I", "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60)


def test_models_import_three_packages_and_no_others() -> None:
    done = load(sys.executable, MODELS)
    assert done.returncode == 0, done.stderr
    assert "whisper.model" in done.stdout
    assert "export" not in done.stdout


def test_models_import_in_their_own_interpreter_with_numpy_1() -> None:
    done = load(interpreter().executable, MODELS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1.")


def test_form_of_requests_needs_no_model() -> None:
    done = load(sys.executable, ("wire",))
    assert done.returncode == 0, done.stderr
    assert "whisper" not in done.stdout
