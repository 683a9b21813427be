"""`steno doctor` finds what is wrong and says what to do."""

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli import main
from services.stack.doctor.findings import State
from services.stack.doctor.machine import check_file_system, check_folder, check_port, existing, file_system_of
from services.stack.doctor.speech import check_training
from services.stack.doctor.triton import check_triton
from services.stack.triton.interpreter import VARIABLE
from tests.triton_server import interpreter

MOUNTS = """/dev/sda1 / ext4 rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
server:/home /home nfs4 rw 0 0
/dev/sdb1 /home/local\\040disk xfs rw 0 0
"""
Doctor = Callable[..., tuple[int, str]]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs `steno doctor`: its exit status and what it prints."""
    monkeypatch.delenv("STENO_URL", raising=False)

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["steno", "doctor", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), capsys.readouterr().out

    return run


def test_complete_installation_has_no_problem(doctor: Doctor, tmp_path: Path) -> None:
    status, out = doctor("--data", str(tmp_path), "--port", "0", "--json")
    report = {finding["check"]: finding for finding in json.loads(out)}
    assert [finding for finding in report.values() if finding["state"] == "problem"] == []
    assert status == 0
    assert "refuses a text" in report["sandbox"]["message"]
    assert "voice activity model" in report["voice activity"]["message"]
    assert (report["training"]["state"], "can be trained" in report["training"]["message"]) == ("ok", True)


def test_problem_is_told_with_what_to_do(doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    monkeypatch.setenv("STENO_URL", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.delenv("STENO_API_KEY", raising=False)
    status, out = doctor("--data", str(tmp_path), "--port", "0")
    problems = [line for line in out.splitlines() if line.startswith("PROBLEM")]
    assert status == 1
    assert len(problems) == 2
    assert "start it with `steno up`" in problems[0]
    assert "STENO_API_KEY is not set" in problems[1]


def test_a_remote_server_is_examined_without_this_machine(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> None:
    monkeypatch.setenv("STENO_URL", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.delenv("STENO_API_KEY", raising=False)
    status, out = doctor("--remote", "--json")
    assert (status, [finding["check"] for finding in json.loads(out)]) == (1, ["server", "api key"])


def test_missing_package_of_training_is_a_warning_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    found = check_training()
    assert found.state is State.WARNING
    assert "jax is missing" in found.message
    assert "steno[training]" in found.remedy


def test_folder_below_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = check_folder(tmp_path / "file" / "data")
    assert found.state is State.PROBLEM
    assert "--data" in found.remedy


def test_folder_to_be_made_is_fine_and_not_made(tmp_path: Path) -> None:
    assert check_folder(tmp_path / "a" / "b").state is State.OK
    assert existing(tmp_path / "a" / "b") == tmp_path


@pytest.mark.parametrize(
    ("path", "kind"), [("/var/lib", "ext4"), ("/home/data", "nfs4"), ("/home/local disk/data", "xfs"), ("/homely", "ext4")]
)
def test_nearest_mount_says_what_the_file_system_is(path: str, kind: str) -> None:
    assert file_system_of(Path(path), MOUNTS) == kind


def test_folder_in_memory_is_a_warning() -> None:
    found = check_file_system(Path("/dev/shm/steno"))
    assert found.state is State.WARNING
    assert "tmpfs" in found.message


def test_taken_port_is_a_warning_and_a_free_one_is_not(unused_tcp_port_factory: Callable[[], int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert check_port(listener.getsockname()[1]).state is State.WARNING
    assert check_port(unused_tcp_port_factory()).state is State.OK


def test_interpreter_that_is_none_is_told_when_triton_is_asked_for(doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = interpreter().executable.parent.parent
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    found = check_triton(tmp_path)
    assert found.state is State.PROBLEM
    assert "does not run" in found.message

    monkeypatch.setenv(VARIABLE, str(prepared))
    status, out = doctor("--engine", "triton", "--data", str(tmp_path), "--port", "0", "--json")
    report = {finding["check"]: finding for finding in json.loads(out)}
    assert "tritonserver can run" in report["triton"]["message"]
    assert status == 0
