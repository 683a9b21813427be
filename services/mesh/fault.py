"""Named crash points between durable effects, where the tests of faults break a process on purpose.

A point does nothing unless `STENO_FAULT_FOLDER` names a folder when the process starts; a service refuses to start with one in the
production profile. A file `NAME` in that folder arms the point once: the first process that comes by takes the file away and does
what it says: `exit` (as by SIGKILL), `stop` (as by SIGSTOP), `raise`, or `sleep SECONDS`.
"""

import os
import signal
import time
from pathlib import Path

VARIABLE = "STENO_FAULT_FOLDER"
_folder = Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None


class InjectedFault(RuntimeError):
    """What a point armed with `raise` raises."""


def point(name: str) -> None:
    """A moment at which a process may die; free when no folder is set."""
    if _folder is not None:
        _visit(_folder, name)


def is_armed() -> bool:
    """Whether this process heeds crash points."""
    return _folder is not None


def _visit(folder: Path, name: str) -> None:
    taken = folder / f"{name}.{os.getpid()}.{time.monotonic_ns()}"
    try:
        (folder / name).rename(taken)
    except FileNotFoundError:
        return
    _act(name, taken.read_text(encoding="ascii").split())


def _act(name: str, action: list[str]) -> None:
    match action:
        case ["exit"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["stop"]:
            os.kill(os.getpid(), signal.SIGSTOP)
        case ["sleep", seconds]:
            time.sleep(float(seconds))
        case ["raise"]:
            raise InjectedFault(name)
        case _:
            raise ValueError(f"{' '.join(action)!r} is no action of a crash point")
