"""The wheel's tritonserver as a child: it answers, comes back, and leaves nothing."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from services.stack.children import Child
from services.stack.last_words import last_words
from services.stack.triton.failures import TritonUnavailable
from services.stack.triton.health import is_ready
from services.stack.triton.server import STOP_SECONDS, TritonServer, open_to_its_user
from services.stack.triton.shared_memory import SHARED_MEMORY, name_prefix
from tests.servers import free_port
from tests.stack.conftest import until
from tests.stack.triton_world import BROKEN, MODEL, ask, family, regions, write_model
from tests.triton_server import interpreter, supervised, triton_server

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A model repository with the model `echo`."""
    write_model(tmp_path / "repository", "echo", MODEL)
    return tmp_path / "repository"


def _server(folder: Path, repository: Path, *models: str) -> TritonServer:
    server = TritonServer(folder, interpreter(), repository, f"127.0.0.1:{free_port()}", free_port(), models)
    server.prepare()
    return server


async def _started(child: Child, server: TritonServer, starts: int) -> None:
    """Until it was started so many times and answers."""
    await until(lambda: child.starts >= starts)
    end = time.monotonic() + READY_SECONDS
    while not await is_ready(server.address):
        assert time.monotonic() < end, child.tail()[-2000:]


async def test_model_runs_in_the_small_interpreter_beside_the_services(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "numpy.py").write_text("raise ImportError('somebody else's')")
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    async with triton_server(tmp_path / "triton", repository=repository, models=["echo"]) as running:
        said = ask(running.address)
    assert said["total"] == 6
    assert said["numpy"].startswith("1.")
    packages = str(interpreter().packages_folder)
    assert [path for path in said["path"] if path.endswith("-packages") and path != packages] == []


async def test_stopped_server_leaves_no_process_and_no_shared_memory(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "triton"
    async with triton_server(folder, repository=repository, models=["echo"]) as running:
        processes = family(running.child.pid)
        assert len(processes) >= 2
        assert regions(folder)
    assert [process for process in processes if process.is_running()] == []
    assert regions(folder) == set()


async def test_hung_server_is_ended_in_time_and_leaves_nothing(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "triton"
    async with triton_server(folder, repository=repository, models=["echo"]) as running:
        processes = family(running.child.pid)
        processes[0].suspend()
        began = time.monotonic()
    assert time.monotonic() - began < STOP_SECONDS + 30
    await until(lambda: not any(process.is_running() for process in processes))
    assert regions(folder) == set()


async def test_killed_server_comes_back_without_what_it_left(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "triton"
    async with triton_server(folder, repository=repository, models=["echo"]) as running:
        first, before = family(running.child.pid), regions(folder)
        first[0].kill()
        await until(lambda: running.child.starts == 2)
        await running.until_ready()
        assert ask(running.address)["total"] == 6
        assert regions(folder).isdisjoint(before)
        await until(lambda: not any(process.is_running() for process in first))


async def test_two_servers_at_once_do_not_disturb_each_other(tmp_path: Path, repository: Path) -> None:
    async with triton_server(tmp_path / "one", repository=repository, models=["echo"]) as one:
        async with triton_server(tmp_path / "two", repository=repository, models=["echo"]) as two:
            assert ask(one.address)["pid"] != ask(two.address)["pid"]
        assert ask(one.address)["total"] == 6


@pytest.mark.parametrize("taken", ["grpc", "metrics"])
async def test_taken_port_is_waited_for(tmp_path: Path, repository: Path, taken: str) -> None:
    server = _server(tmp_path / "triton", repository, "echo")
    port = server.metrics_port if taken == "metrics" else int(server.address.rpartition(":")[2])
    child = Child(server.child(), tmp_path / "triton.log")
    listener = socket.create_server(("127.0.0.1", port))
    async with supervised(child):
        await until(lambda: child.starts > 1)
        listener.close()
        await _started(child, server, 2)
        assert ask(server.address)["total"] == 6


async def test_model_that_does_not_load_is_told_with_its_reason(tmp_path: Path, repository: Path) -> None:
    write_model(repository, "broken", BROKEN)
    child = Child(_server(tmp_path / "triton", repository, "echo", "broken").child(), tmp_path / "triton.log")
    async with supervised(child):
        await until(lambda: child.starts > 1)
        assert "the model has no graphs: run this and that" in last_words(child)


async def test_start_tidies_what_a_killed_run_left_and_nothing_else(tmp_path: Path, repository: Path) -> None:
    mine, other = tmp_path / "triton", tmp_path / "other"
    left = {}
    for folder in (mine, other):
        folder.mkdir()
        left[folder] = SHARED_MEMORY / f"{name_prefix(folder)}left-over"
        left[folder].write_bytes(b"audio")
    _server(mine, repository, "echo")
    assert not left[mine].exists()
    assert left[other].exists()
    left[other].unlink()


async def test_socket_is_its_users_alone_and_survives_a_kill(tmp_path: Path, repository: Path) -> None:
    folder = tmp_path / "triton"
    server = TritonServer(folder, interpreter(), repository, open_to_its_user(folder), free_port(), ["echo"])
    server.prepare()
    child = Child(server.child(), tmp_path / "triton.log")
    async with supervised(child):
        for starts in (1, 2):
            await _started(child, server, starts)
            assert ask(server.address)["total"] == 6
            psutil.Process(child.pid).kill()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_socket_whose_path_is_too_long_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TritonUnavailable, match="--data"):
        open_to_its_user(tmp_path / ("long" * 30))


SUPERVISOR = """
import asyncio, sys
from pathlib import Path
from tests.triton_server import triton_server

async def main():
    folder, repository = Path(sys.argv[1]), Path(sys.argv[2])
    async with triton_server(folder, repository=repository, models=["echo"]) as running:
        print(running.child.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_server_ends_when_its_supervisor_is_killed(tmp_path: Path, repository: Path) -> None:
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path / "triton"), str(repository)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as supervisor:
        assert supervisor.stdout is not None
        processes = family(int(supervisor.stdout.readline()))
        supervisor.send_signal(signal.SIGKILL)
        supervisor.wait(10)
    await until(lambda: not any(process.is_running() for process in processes))
    assert regions(tmp_path / "triton") == set()
