"""The order and the time in which the parts of the mesh end, and why a start is given up."""

import asyncio
import time
from pathlib import Path

import pytest

from services.stack.children import Child
from services.stack.data_directory import DataDirectory
from services.stack.layout import SERVICES, choose_ports, nats_child, service_children
from services.stack.supervisor import STOP_ORDER, stop_in_order
from services.stack.triton.server import STOP_SECONDS
from tests.stack.conftest import MakeChild, until

NOTES_ITS_END = """
import os, signal, sys, time
def end(*_):
    with open(os.environ["FOLDER"] + "/ends", "a") as file:
        file.write(NAME + "\\n")
    time.sleep(0.2)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
while True:
    time.sleep(1)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(300)"


async def _run_and_stop(children: dict[str, Child]) -> float:
    """Seconds that stopping took."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for child in children.values():
            tasks.create_task(child.keep_running(stopping), name=child.spec.name)
        try:
            await until(lambda: all("up" in child.tail() for child in children.values()))
        finally:
            stopping.set()
            began = time.monotonic()
            await stop_in_order(children)
    return time.monotonic() - began


async def test_doors_close_before_what_stands_behind_them(make_child: MakeChild, tmp_path: Path) -> None:
    names = [name for group in STOP_ORDER for name in group]
    await _run_and_stop({name: make_child(f"NAME = {name!r}\n{NOTES_ITS_END}", name) for name in names})
    ends = (tmp_path / "ends").read_text().split()
    assert set(ends[:2]) == {"gateway", "inference"}
    assert set(ends[2:6]) == {"jobs", "storage", "billing", "triton"}
    assert ends[6:] == ["nats"]


async def test_one_deaf_child_does_not_keep_the_others(make_child: MakeChild, tmp_path: Path) -> None:
    names = [name for group in STOP_ORDER for name in group]
    children = {name: make_child(f"NAME = {name!r}\n{NOTES_ITS_END}", name) for name in names}
    children["inference"] = make_child(DEAF, "inference", stop_seconds=0.5)
    seconds = await _run_and_stop(children)
    assert sorted((tmp_path / "ends").read_text().split()) == sorted(set(names) - {"inference"})
    assert seconds < 10


def test_whole_mesh_stops_within_twenty_seconds_even_if_every_child_is_deaf(tmp_path: Path) -> None:
    specs = [nats_child(tmp_path / "nats.conf"), *service_children(DataDirectory(tmp_path), choose_ports(0), {})]
    allowed = {"triton": STOP_SECONDS, **{spec.name: spec.stop_seconds for spec in specs}}
    assert set(allowed) == {"nats", "triton", *SERVICES}
    assert sum(max(allowed[name] for name in group) for group in STOP_ORDER) < 18


@pytest.mark.parametrize("name", SERVICES)
def test_services_give_up_their_work_before_they_are_killed(tmp_path: Path, name: str) -> None:
    spec = next(spec for spec in service_children(DataDirectory(tmp_path), choose_ports(0), {}) if spec.name == name)
    assert float(spec.environment[f"STENO_{name.upper()}_SHUTDOWN_GRACE_SECONDS"]) < spec.stop_seconds
