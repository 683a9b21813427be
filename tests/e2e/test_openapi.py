"""The API keeps to its own documents, whatever is sent to it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from tests.e2e.mesh import Mesh, running_mesh

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "use_after_free",
)


@pytest.fixture
def unhurried(tmp_path: Path) -> Iterator[Mesh]:
    """A mesh whose plans limit no rate, so that every request reaches what is behind it."""
    plans = files("services.billing").joinpath("plans.toml").read_text(encoding="utf-8")
    (tmp_path / "plans.toml").write_text(re.sub(r"_per_minute = [0-9]+(?=[ ,])", "_per_minute = 0", plans))
    with running_mesh(tmp_path, {"STENO_BILLING_PLANS_FILE": str(tmp_path / "plans.toml")}) as mesh:
        yield mesh


@pytest.mark.timeout(300)
def test_no_answer_is_a_5xx_or_outside_the_schema(unhurried: Mesh, tmp_path: Path) -> None:
    """STENO_SCHEMATHESIS_SECONDS looks for longer than the usual 40 s."""
    mesh, seconds = unhurried, os.environ.get("STENO_SCHEMATHESIS_SECONDS", "40")
    command = [
        str(SCHEMATHESIS),
        "--no-color",
        "run",
        f"{mesh.ready['url']}/openapi.json",
        f"--header=X-API-Key: {mesh.ready['api_key']}",
        f"--checks={','.join(CHECKS)}",
        "--phases=examples,coverage,fuzzing",
        "--max-examples=10",
        "--continue-on-failure",
        f"--max-time={seconds}",
        "--request-timeout=20",
        "--exclude-path-regex=events$",
        "--suppress-health-check=all",
    ]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
