import os
import re
import signal
import subprocess
import sys
import timeit
from pathlib import Path

import pytest

from faults.points import crash_points
from services.mesh import fault

_FEWEST_POINTS = 60
_PARTS_OF_MESH = {"consumer", "database", "inbox", "migration", "outbox"}
_PASS = "from services.mesh import fault; fault.point('jobs.create.before_commit'); print('passed', flush=True)"
_SERVICES = ("billing", "gateway", "inference", "jobs", "storage")
_REPOSITORY = Path(__file__).parents[2]
_LIMIT_SECONDS = 60


def _run(program: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    merged = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, *program], env=merged, cwd=_REPOSITORY, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
    )


def test_there_are_sixty_crash_points_and_no_two_share_a_name() -> None:
    names = [point.name for point in crash_points()]
    assert len(names) >= _FEWEST_POINTS
    assert len(set(names)) == len(names)


def test_every_crash_point_is_named_after_where_it_is() -> None:
    for point in crash_points():
        assert re.fullmatch(r"[a-z]+\.[a-z_]+\.(before|after)_[a-z_]+", point.name), point
        owners = _PARTS_OF_MESH if point.service == "mesh" else {point.service}
        assert point.name.partition(".")[0] in owners, point


def test_every_service_has_crash_points() -> None:
    assert {point.service for point in crash_points()} >= {*_SERVICES, "mesh"}


def test_a_point_that_is_not_armed_is_passed(tmp_path: Path) -> None:
    (tmp_path / "jobs.create.after_commit").write_text("exit")
    assert _run(["-c", _PASS], STENO_FAULT_FOLDER=str(tmp_path)).stdout == "passed\n"


@pytest.mark.parametrize(("action", "status"), [("exit", -signal.SIGKILL), ("raise", 1), ("sleep 0", 0)])
def test_an_armed_point_does_what_it_says(tmp_path: Path, action: str, status: int) -> None:
    (tmp_path / "jobs.create.before_commit").write_text(action)
    assert _run(["-c", _PASS], STENO_FAULT_FOLDER=str(tmp_path)).returncode == status


def test_an_armed_point_fires_once(tmp_path: Path) -> None:
    (tmp_path / "jobs.create.before_commit").write_text("exit")
    first, second = (_run(["-c", _PASS], STENO_FAULT_FOLDER=str(tmp_path)) for _ in range(2))
    assert (first.stdout, second.stdout) == ("", "passed\n")
    assert [path.name.rpartition("commit.")[0] for path in tmp_path.iterdir()] == ["jobs.create.before_"]


def test_a_process_at_an_armed_point_stops_like_one_that_hangs(tmp_path: Path) -> None:
    (tmp_path / "jobs.create.before_commit").write_text("stop")
    with subprocess.Popen(
        [sys.executable, "-c", _PASS], env={**os.environ, "STENO_FAULT_FOLDER": str(tmp_path)}, cwd=_REPOSITORY, stdout=subprocess.PIPE
    ) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=_LIMIT_SECONDS)[0] == b"passed\n"


def test_without_a_folder_a_point_costs_a_call_and_a_look() -> None:
    assert not fault.is_armed()
    plain = min(timeit.repeat("nothing('name')", globals={"nothing": _nothing}, number=20_000, repeat=15))
    passed = min(timeit.repeat("point('name')", globals={"point": fault.point}, number=20_000, repeat=15))
    assert passed < 4 * plain


def _nothing(name: str) -> None:
    pass


def test_a_service_with_crash_points_does_not_start_in_production(tmp_path: Path) -> None:
    stopped = _run(
        ["-m", "services.billing"],
        STENO_BILLING_PROFILE="production",
        STENO_BILLING_DATABASE_URL=f"sqlite+aiosqlite:///{tmp_path}/billing.db",
        STENO_BILLING_PEPPER_FILE=str(tmp_path / "pepper"),
        STENO_FAULT_FOLDER=str(tmp_path),
    )
    assert stopped.returncode == 2
    told = [line for line in stopped.stderr.splitlines() if "settings cannot be used" in line]
    names = (
        "STENO_FAULT_FOLDER is set",
        "STENO_BILLING_PEPPER_FILE",
        "STENO_BILLING_NATS_MONITOR_URL",
        "STENO_BILLING_TLS_CERTIFICATE_FILE",
    )
    assert [name for name in names if not any(name in line for line in told)] == []


@pytest.mark.parametrize("service", _SERVICES)
def test_every_service_is_started_by_what_refuses_crash_points(service: str) -> None:
    program = (_REPOSITORY / "services" / service / "__main__.py").read_text()
    assert "from services.mesh.run import run" in program
    assert "\n    run(app, " in program
