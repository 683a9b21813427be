"""Children are started again, stopped in time, and never left behind."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from services.stack.children import Child
from tests.stack.conftest import DEADLINE_SECONDS, MakeChild, alive, until

ROOT = Path(__file__).parents[2]
ENDS_AT_ONCE = "import time; print(time.monotonic(), flush=True); raise SystemExit(3)"
STAYS = "import signal, time; print('up', flush=True); time.sleep(300)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(300)"
HAS_CHILD = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('up', subprocess.Popen(["sleep", "300"]).pid, flush=True)
time.sleep(300)
"""


@asynccontextmanager
async def _running(child: Child) -> AsyncIterator[asyncio.Event]:
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(child.keep_running(stopping), name="child")
        try:
            yield stopping
        finally:
            stopping.set()
            await child.stop()


async def test_ended_child_is_started_again_with_growing_delay(make_child: MakeChild) -> None:
    child = make_child(ENDS_AT_ONCE)
    async with _running(child):
        await until(lambda: len(child.tail().split()) >= 4)
    times = [float(word) for word in child.tail().split()]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(gap > least for gap, least in zip(gaps, (0.16, 0.32, 0.64), strict=False))


async def test_delay_grows_to_its_limit_only(make_child: MakeChild) -> None:
    child = replace(make_child(ENDS_AT_ONCE), restart_seconds=0.05)
    async with _running(child):
        # Eleven delays that double from 0.2 s to the usual 5 s would outlast the deadline.
        await until(lambda: len(child.tail().split()) >= 12)


async def test_killed_child_comes_back_under_another_pid(make_child: MakeChild) -> None:
    child = make_child(STAYS)
    async with _running(child):
        await until(lambda: "up" in child.tail())
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: child.tail().count("up") == 2)
        assert child.pid not in (None, first)
        assert child.starts == 2


async def test_stopped_child_stays_stopped(make_child: MakeChild) -> None:
    child = make_child(STAYS)
    async with _running(child):
        await until(lambda: "up" in child.tail())
    assert child.pid is None
    assert child.starts == 1


async def test_child_deaf_to_sigterm_is_killed_when_its_time_is_up(make_child: MakeChild) -> None:
    child = make_child(DEAF, stop_seconds=0.5)
    async with _running(child):
        await until(lambda: "up" in child.tail())
        pid = child.pid
        began = time.monotonic()
    assert 0.4 < time.monotonic() - began < 30
    assert pid is not None
    assert not alive(pid)


async def test_what_a_killed_child_started_ends_with_it(make_child: MakeChild) -> None:
    child = make_child(HAS_CHILD, stop_seconds=0.2)
    async with _running(child):
        await until(lambda: "up" in child.tail())
        first = int(child.tail().split()[1])
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await until(lambda: child.tail().count("up") == 2)
        assert not alive(first)
        second = int(child.tail().split()[3])
    await until(lambda: not alive(second))


async def test_program_that_is_missing_is_reported_in_the_log(make_child: MakeChild) -> None:
    child = make_child("")
    child.spec = type(child.spec)("child", ["no-such-program"], os.environ, 1.0)
    async with _running(child):
        await until(lambda: "FileNotFoundError" in child.tail())


SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from services.stack.children import Child, ChildSpec
spec = ChildSpec("orphan", ["sleep", "300"], {"PATH": "/usr/bin:/bin"}, 1.0)
async def main():
    child = Child(spec, Path(sys.argv[1]) / "orphan.log")
    task = asyncio.create_task(child.keep_running(asyncio.Event()))
    while child.pid is None:
        await asyncio.sleep(0.01)
    print(child.pid, flush=True)
    await task
asyncio.run(main())
"""


async def test_children_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    with supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        await until(lambda: re.search("sleep", Path(f"/proc/{pid}/cmdline").read_text()))
        supervisor.kill()
        supervisor.wait(DEADLINE_SECONDS)
        await until(lambda: not alive(pid))


async def test_large_log_is_put_aside(make_child: MakeChild) -> None:
    child = make_child(STAYS)
    with child.log_file.open("wb") as log:
        log.truncate(17 * 1024**2)
    async with _running(child):
        await until(lambda: "up" in child.tail())
    assert child.log_file.stat().st_size < 1024
    assert child.log_file.with_suffix(".old.log").stat().st_size == 17 * 1024**2
