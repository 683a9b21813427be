"""The command line starts quickly, because it loads only what a command needs."""

import os
import subprocess
import sys

from tests.cli.conftest import ROOT

DATASETS_MODULES = [f"services.datasets_cli.{path.stem}" for path in (ROOT / "services" / "datasets_cli").glob("*.py")]
CLIENT_MODULES = ("services.cli", "services.client.transcription", "services.client.jobs", "services.client.keys", *DATASETS_MODULES)
SERVER_PACKAGES = {"onnxruntime", "grpc", "numpy", "av", "sqlalchemy", "uvicorn", "starlette", "nats", "structlog", "uvloop"}
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}"}


def test_help_loads_no_client_either() -> None:
    run_help = "import sys; sys.argv = ['steno', '--help']\nfrom services.cli import main\n"
    program = run_help + "try: main()\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    answer = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=True)
    assert "transcribe" in answer.stdout
    loaded = {name.partition(".")[0] for name in answer.stderr.split()}
    assert not loaded & {*SERVER_PACKAGES, "httpx2"}


def test_client_commands_load_no_server() -> None:
    program = f"import sys, {', '.join(CLIENT_MODULES)}; print('\\n'.join(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=True)
    loaded = {name.partition(".")[0] for name in answer.stdout.split()}
    assert "httpx2" in loaded
    assert not loaded & SERVER_PACKAGES
    assert not any(name.startswith(("services.mesh", "services.stack", "steno.")) for name in answer.stdout.split())
