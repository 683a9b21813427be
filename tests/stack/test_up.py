"""`steno up` as people run it: the whole mesh, started, hurt and stopped."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from services.stack.data_directory import DataDirectory
from tests.stack.conftest import alive

ROOT = Path(__file__).parents[2]
READY_SECONDS = 90.0
STOP_SECONDS = 20.0


@contextmanager
def _up(folder: Path, *options: str, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-P", "-m", "services.cli", "up", "--data", str(folder / "data"), *options]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}", **environment}
    process = subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS * 2)


def _wait_for(path: Path, process: "subprocess.Popen[str]") -> dict[str, object]:
    end = time.monotonic() + READY_SECONDS
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "not ready in time"
        time.sleep(0.05)
    content: dict[str, object] = json.loads(path.read_text())
    return content


def _child(parent: int, word: str) -> int:
    """The pid of the parent's child whose command line has the word; 0 when there is none."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return next((int(pid) for pid in children if word in Path(f"/proc/{pid}/cmdline").read_text()), 0)


def _comes_back(parent: int, word: str, old: int) -> int:
    end = time.monotonic() + READY_SECONDS
    while (pid := _child(parent, word)) in (0, old):
        assert time.monotonic() < end, "not started again in time"
        time.sleep(0.05)
    return pid


def test_mesh_starts_heals_and_stops(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready.json"
    with _up(tmp_path, "--port", "0", "--ready-file", str(ready_file)) as process:
        ready = _wait_for(ready_file, process)
        assert ready["pid"] == process.pid
        assert stat.S_IMODE(ready_file.stat().st_mode) == 0o600
        addresses = tmp_path / "data" / "addresses.json"
        told = json.loads(addresses.read_text())
        assert told.pop("tls") is False
        assert told == ready["grpc"]
        me = httpx2.get(f"{ready['url']}/api/v1/me", headers={"X-API-Key": str(ready["api_key"])}, timeout=60)
        assert me.status_code == 200

        pids = {word: _child(process.pid, word) for word in ("nats-server", "services.billing", "services.gateway")}
        os.kill(pids["nats-server"], signal.SIGKILL)
        assert _comes_back(process.pid, "nats-server", pids["nats-server"])

        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=STOP_SECONDS)
        assert time.monotonic() - began < STOP_SECONDS
    assert process.returncode == 0
    assert str(ready["url"]) in out
    assert not addresses.exists()
    assert str(ready["api_key"]) in out
    assert "demo engine for English" in out
    assert "child ended, restarting" in err
    assert not ready_file.exists()
    assert not any(alive(pid) for pid in pids.values())


def test_taken_port_is_told_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with _up(tmp_path, "--port", str(port)) as process:
            _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"port {port} is taken" in err
    assert "--port" in err


def test_folder_in_use_is_told_with_what_to_do(tmp_path: Path) -> None:
    with DataDirectory(tmp_path / "data").locked(), _up(tmp_path) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "another `steno up`" in err


def test_refused_setting_ends_the_start_at_once(tmp_path: Path) -> None:
    with _up(tmp_path, "--port", "0", STENO_BILLING_LOG_LEVEL="loud") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "billing did not become ready" in err
    assert "STENO_BILLING_LOG_LEVEL" in err
    assert "Traceback" not in err


def test_stop_before_ready_is_a_clean_stop(tmp_path: Path) -> None:
    with _up(tmp_path, "--port", "0") as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "waiting for nats\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 0
    assert "stopped before everything was ready" in err
