"""Checks of the embedded Triton: the machine, the interpreter of its models, shared memory."""

import os
import shutil
from pathlib import Path

from services.stack.data_directory import DataDirectory
from services.stack.doctor.findings import Finding, ok, problem, warning
from services.stack.triton.deployment import find_deployment
from services.stack.triton.embedded import ADDRESS
from services.stack.triton.failures import TritonUnavailable
from services.stack.triton.interpreter import VARIABLE, made_from, validated
from services.stack.triton.python import check_machine, find_python
from services.stack.triton.shared_memory import SHARED_MEMORY

# Three models at 4 MiB and more each; a container has 64 MiB unless told otherwise.
_SHARED_BYTES = 256 * 1024**2


def check_triton(data: Path) -> Finding:
    """The wheel's server can run here, and its models have an interpreter or can be given one."""
    if address := os.environ.get(ADDRESS):
        return ok(f"the Triton at {address} is used, which {ADDRESS} names")
    try:
        check_machine()
        interpreter = _examine_interpreter(DataDirectory(data).triton_interpreter)
    except TritonUnavailable as error:
        return problem(str(error), "make it so, or use --engine local")
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < _SHARED_BYTES:
        return warning(f"{SHARED_MEMORY} has {free >> 20} MiB free", f"give it {_SHARED_BYTES >> 20} MiB; Docker: --shm-size")
    return ok(f"tritonserver can run; {interpreter}")


def _examine_interpreter(folder: Path) -> str:
    """What is known of it. Raises TritonUnavailable."""
    if given := os.environ.get(VARIABLE):
        return f"its models run in {validated(Path(given)).executable.parent.parent}, which {VARIABLE} names"
    if made_from(folder, find_deployment() / "requirements.lock"):
        return f"its models run in {validated(folder).executable.parent.parent}"
    return f"the interpreter of its models will be made from {find_python()} (about 100 MB of packages)"
