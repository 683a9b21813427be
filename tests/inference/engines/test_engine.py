"""The control plane stays free of model libraries."""

import subprocess
import sys
from pathlib import Path

import pytest

LIGHT = [
    "windows",
    "alignment",
    "casing",
    "transcript",
    "diarization.turns",
    "engines.engine",
    "engines.local",
    "engines.opening",
    "models.vad_state",
]


@pytest.mark.parametrize("module", LIGHT)
def test_planning_and_aligning_load_no_model_library(module: str) -> None:
    script = f"import sys, services.inference.{module}; print([m for m in ('onnxruntime', 'pocketsphinx', 'av') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=Path(__file__).parents[3], check=True)
    assert found.stdout.strip() == "[]"
