"""Pythons that Triton's Python backend can embed."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.stack.triton.failures import TritonUnavailable

# The last NumPy 1 has wheels up to Python 3.12; our models need 3.11.
VERSIONS = ("3.11", "3.12")
LEAST_GLIBC = (2, 35)
_SECONDS = 30.0
# Which library the backend's stub loads; a Python linked statically has none.
_PROGRAM = """
import ctypes, importlib.metadata, json, os, sys, sysconfig
version = "%d.%d" % sys.version_info[:2]
folder = sysconfig.get_config_var("LIBDIR") or ""
name = f"libpython{version}.so.1.0"
inside = os.path.exists(os.path.join(folder, name))
problem = ""
try:
    ctypes.CDLL(os.path.join(folder, name) if inside else name)
except OSError as error:
    problem = str(error)
packages = {one.name.lower().replace("_", "-"): one.version for one in importlib.metadata.distributions()}
print(json.dumps([version, folder if inside else "", problem, sysconfig.get_path("purelib"), packages]))
"""


@dataclass(frozen=True)
class Python:
    """What a Python says of itself. library_folder: where its libpython lies; empty where the system's linker finds it."""

    executable: Path
    version: str
    library_folder: str
    library_problem: str
    packages_folder: Path
    packages: dict[str, str]


def check_machine() -> None:
    """Raises TritonUnavailable where the wheel's server cannot run."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise TritonUnavailable(f"the embedded Triton runs on x86_64 Linux, not on {platform.machine()} {sys.platform}; {_elsewhere()}")
    name, number = platform.libc_ver()
    found = tuple(int(part) for part in number.split(".")[:2] if part.isdecimal())
    if name != "glibc" or found < LEAST_GLIBC:
        needed = ".".join(map(str, LEAST_GLIBC))
        raise TritonUnavailable(f"the embedded Triton needs glibc {needed}, and this system has {name or 'none'} {number}; {_elsewhere()}")


def _elsewhere() -> str:
    return "use --engine local, or run Triton's container and set STENO_INFERENCE_TRITON_ADDRESS"


def examine(executable: Path) -> Python:
    """Ask a Python. Raises TritonUnavailable when it does not answer."""
    try:
        answer = subprocess.run([executable, "-I", "-c", _PROGRAM], capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        raise TritonUnavailable(f"{executable} does not run: {said.strip()[-500:]}") from error
    version, library_folder, problem, packages_folder, packages = json.loads(answer.stdout)
    return Python(executable, version, library_folder, problem, Path(packages_folder), packages)


def find_python() -> Path:
    """A Python to make the interpreter from, this one first. Raises TritonUnavailable."""
    reasons = []
    for candidate in _candidates():
        try:
            found = examine(candidate)
        except TritonUnavailable as error:
            reasons.append(str(error))
            continue
        if problem := unfit(found):
            reasons.append(problem)
        else:
            return candidate
    raise TritonUnavailable(
        f"no Python {' or '.join(VERSIONS)} for Triton's models: {'; '.join(reasons)}; install one with its shared library"
    )


def unfit(python: Python) -> str:
    """Why the backend cannot embed it; empty when it can."""
    if python.version not in VERSIONS:
        return f"{python.executable} is Python {python.version}"
    if python.library_problem:
        return f"{python.executable} has no shared library ({python.library_problem})"
    return ""


def _candidates() -> Iterator[Path]:
    yield Path(sys.executable)
    for version in VERSIONS:
        if found := shutil.which(f"python{version}"):
            yield Path(found)
