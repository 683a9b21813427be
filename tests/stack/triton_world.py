"""A model that says what it runs in, and what is left of a server."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import tritonclient.grpc as triton

from services.stack.triton.shared_memory import SHARED_MEMORY, name_prefix

CONFIG = """
backend: "python"
max_batch_size: 8
input [{ name: "X" data_type: TYPE_INT16 dims: [-1] }]
output [{ name: "Y" data_type: TYPE_STRING dims: [1] }]
"""
MODEL = """
import json
import os
import sys

import numpy as np
import services.stack.triton
import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            total = int(backend.get_input_tensor_by_name(request, "X").as_numpy().sum())
            said = json.dumps({"total": total, "numpy": np.__version__, "path": sys.path, "pid": os.getpid()})
            answers.append(backend.InferenceResponse([backend.Tensor("Y", np.array([[said]], np.object_))]))
        return answers
"""
BROKEN = "raise RuntimeError('the model has no graphs: run this and that')"


def write_model(repository: Path, name: str, program: str) -> None:
    """A model of the repository."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(CONFIG)
    (folder / "1" / "model.py").write_text(program)


def ask(address: str) -> Mapping[str, Any]:
    """What the model `echo` says; its total is 6."""
    numbers = triton.InferInput("X", [1, 3], "INT16")
    numbers.set_data_from_numpy(np.array([[1, 2, 3]], np.int16))
    with triton.InferenceServerClient(address) as client:
        answer = client.infer("echo", [numbers], client_timeout=10.0)
    said: Mapping[str, Any] = json.loads(answer.as_numpy("Y")[0, 0])
    return said


def family(pid: int | None) -> list[psutil.Process]:
    """A process and what it started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def regions(folder: Path) -> set[str]:
    """Names of the shared memory of the folder's server."""
    return {path.name for path in SHARED_MEMORY.glob(f"{name_prefix(folder)}*")}
