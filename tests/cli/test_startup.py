"""The command line starts quickly, because it loads only what a command needs."""

import os
import subprocess
import sys

from tests.cli.conftest import ROOT

HELP_SECONDS = 0.4
CLIENT_MODULES = ("services.cli", "services.client.transcription", "services.client.jobs", "services.client.keys")
SERVER_PACKAGES = {"onnxruntime", "grpc", "numpy", "av", "sqlalchemy", "uvicorn", "starlette", "nats", "structlog", "uvloop"}
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"}


def _help_cpu_seconds() -> float:
    command = [sys.executable, "-m", "services.cli", "--help"]
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def test_help_takes_less_than_its_budget() -> None:
    assert min(_help_cpu_seconds() for _ in range(3)) < HELP_SECONDS


def test_client_commands_load_no_server() -> None:
    program = f"import sys, {', '.join(CLIENT_MODULES)}; print('\\n'.join(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in answer.stdout.split()}
    assert "httpx2" in loaded
    assert not loaded & SERVER_PACKAGES
    assert not any(name.startswith(("services.mesh", "services.stack", "steno.")) for name in answer.stdout.split())
