"""The small interpreter of Triton's models: made once, and again when its lock changes.

`python -m services.stack.triton.interpreter FOLDER` makes it ahead of time, for STENO_TRITON_INTERPRETER.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from services.stack.triton.deployment import find_deployment
from services.stack.triton.failures import TritonUnavailable
from services.stack.triton.python import Python, check_machine, examine, find_python, unfit

VARIABLE = "STENO_TRITON_INTERPRETER"
NEEDED = ("numpy", "nvidia-pytriton", "onnxruntime", "tokenizers")
_STAMP = "steno.lock.sha256"
_INSTALL_SECONDS = 1800.0

Progress = Callable[[str], None]


def open_interpreter(folder: Path, progress: Progress) -> Python:
    """The operator's interpreter where STENO_TRITON_INTERPRETER names one, else that in the folder. Raises TritonUnavailable."""
    check_machine()
    if given := os.environ.get(VARIABLE):
        return validated(Path(given))
    return ensure_interpreter(folder, find_deployment() / "requirements.lock", progress)


def ensure_interpreter(folder: Path, lock: Path, progress: Progress) -> Python:
    """The interpreter that the lock describes, made where it is missing, broken or another lock's. Raises TritonUnavailable."""
    if made_from(folder, lock):
        with suppress(TritonUnavailable):
            return validated(folder)
    make_interpreter(folder, lock, progress, find_uv())
    return validated(folder)


def validated(folder: Path) -> Python:
    """The interpreter in the folder. Raises TritonUnavailable when Triton's models cannot run in it."""
    python = examine(folder / "bin" / "python")
    if problem := unfit(python) or _lacks(python):
        raise TritonUnavailable(f"{folder} cannot run Triton's models: {problem}")
    return python


def _lacks(python: Python) -> str:
    missing = [name for name in NEEDED if name not in python.packages]
    if missing:
        return f"it lacks {', '.join(missing)}; install {find_deployment() / 'requirements.lock'} there, with --no-deps"
    if int(python.packages["numpy"].split(".")[0]) > 1:
        return f"its NumPy is {python.packages['numpy']}, with which Triton 24.10 answers empty; install numpy<2"
    return ""


def made_from(folder: Path, lock: Path) -> bool:
    """Whether the folder's interpreter was made from the lock as it is now."""
    stamp = folder / _STAMP
    return stamp.is_file() and stamp.read_text() == _digest(lock)


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def make_interpreter(folder: Path, lock: Path, progress: Progress, uv: str | None) -> None:
    """Make it anew, with uv where it is there, else with venv and pip. Raises TritonUnavailable, the former one then untouched.

    It is made aside and moved, so that one half made is never taken for whole.
    """
    partial, former = folder.with_name(f"{folder.name}.new"), folder.with_name(f"{folder.name}.old")
    progress(f"making the interpreter of Triton's models in {folder} (about 100 MB of packages, once)")
    for rest in (partial, former):
        shutil.rmtree(rest, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    _install(partial, lock, uv)
    (partial / _STAMP).write_text(_digest(lock))
    with suppress(FileNotFoundError):
        folder.rename(former)
    partial.rename(folder)
    shutil.rmtree(former, ignore_errors=True)


def _install(folder: Path, lock: Path, uv: str | None) -> None:
    python = str(folder / "bin" / "python")
    if uv:
        _run([uv, "venv", "--quiet", "--no-config", "--python", str(find_python()), str(folder)])
        _run([uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "--require-hashes", "-r", str(lock)])
        return
    _run([str(find_python()), "-m", "venv", str(folder)])
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    _run([*pip, "--no-deps", "--require-hashes", "--requirement", str(lock)])


def find_uv() -> str | None:
    """The uv beside this Python or on PATH."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv")


def _run(command: Sequence[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
    try:
        subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or getattr(error, "stdout", None) or str(error)).strip()[-1500:]
        remedy = f"the packages of Triton could be neither found nor installed; or name an interpreter that has them in {VARIABLE}"
        raise TritonUnavailable(f"`{' '.join(command[:3])} …` failed: {remedy}\n{said}") from error


def main(arguments: Sequence[str]) -> int:
    """Make the interpreter in the folder that the only argument names."""
    try:
        check_machine()
        ensure_interpreter(Path(arguments[0]).absolute(), find_deployment() / "requirements.lock", print)
    except TritonUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
