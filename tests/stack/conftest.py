"""Small real programs for the supervisor to run."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from services.stack.children import Child, ChildSpec

DEADLINE_SECONDS = 20.0


async def until(condition: Callable[[], object], seconds: float = DEADLINE_SECONDS) -> None:
    """Wait for a condition. Raises AssertionError past the deadline."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether the process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


MakeChild = Callable[..., Child]


@pytest.fixture
def make_child(tmp_path: Path) -> MakeChild:
    """A child that runs a Python program, given as text."""

    def make(program: str, name: str = "child", stop_seconds: float = 5.0) -> Child:
        environment = {**os.environ, "FOLDER": str(tmp_path)}
        spec = ChildSpec(name, [sys.executable, "-S", "-c", program], environment, stop_seconds)
        return Child(spec, tmp_path / f"{name}.log")

    return make
