"""All processes of a mesh stopped at one instant."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

_STOP_SECONDS = 10.0
_STOPPED = frozenset("TtZX")


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process and all below it run no instruction, and no system call of theirs is under way, while the block runs."""
    freeze(pid)
    try:
        yield
    finally:
        _signal_tree(pid, signal.SIGCONT)


def freeze(pid: int) -> None:
    """Stop a process and all below it, parents first, so that none is started anew. Raises TimeoutError."""
    until = time.monotonic() + _STOP_SECONDS
    while not _signal_tree(pid, signal.SIGSTOP):
        if time.monotonic() > until:
            raise TimeoutError(f"process {pid} and its children do not stop")
        time.sleep(0.002)


def _signal_tree(pid: int, number: int) -> bool:
    """Whether every thread of the tree was found stopped after the signal."""
    root = psutil.Process(pid)
    pids = [pid, *(child.pid for child in root.children(recursive=True))]
    for each in pids:
        with suppress(ProcessLookupError):
            os.kill(each, number)
    return all(_is_stopped(each) for each in pids)


def _is_stopped(pid: int) -> bool:
    try:
        states = [_state(path / "stat") for path in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return all(state in _STOPPED for state in states)


def _state(stat: Path) -> str:
    """The letter after the name, which may hold spaces and brackets itself."""
    return stat.read_text().rpartition(") ")[2][0]


def end_tree(pid: int) -> None:
    """Kill a process and all below it, as a power cut does; returns when none of them runs. Raises TimeoutError."""
    freeze(pid)
    root = psutil.Process(pid)
    processes = [*root.children(recursive=True), root]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs([process for process in processes if process != root], timeout=_STOP_SECONDS)
    if alive:
        raise TimeoutError(f"{len(alive)} killed processes do not end")
