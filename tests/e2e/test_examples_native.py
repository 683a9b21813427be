"""The curl commands that clients of the native contract are shown, run as they are: only host and key are this mesh's."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.mesh import SAMPLES, wait_for
from tests.e2e.open_mesh import OpenMesh, running_open_mesh
from tools.speech.forms import write_form

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("curl") is None, reason="the examples are curl commands, and curl is not installed"),
]
SUBMIT_FILE = """curl -s $HOST/api/v1/transcribe \\
  -H "X-API-Key: $WHIPSCRIBE_KEY" \\
  -F "file=@episode-412.mp3" \\
  -F "language=en" \\
  -F "source=api"
"""
SUBMIT_URL = """curl -s $HOST/api/v1/transcribe/url \\
  -H "X-API-Key: $WHIPSCRIBE_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"url":"https://www.youtube.com/watch?v=...", "language":"en", "source":"url"}'
"""
CLAIM = """curl -s $HOST/api/v1/jobs/claim \\
  -H "X-API-Key: $WHIPSCRIBE_KEY" \\
  -H "Authorization: Bearer $FIREBASE_ID_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{"claim_tokens": ["FIRST", "SECOND"]}'
"""
SUBMIT_ONCE = """curl -s -D head $HOST/api/v1/transcribe/url \\
  -H "X-API-Key: $WHIPSCRIBE_KEY" \\
  -H "Idempotency-Key: job-2026-04-19-abc123" \\
  -H "Content-Type: application/json" \\
  -d '{"url": "https://example.com/audio.mp3"}'
"""


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenMesh]:
    """One mesh for all examples."""
    with running_open_mesh(tmp_path_factory.mktemp("examples")) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the commands run in, with the file that they send."""
    folder = tmp_path_factory.mktemp("desk")
    write_form(SAMPLES / "clips" / "hello.flac", folder / "episode-412.mp3")
    return folder


def run(opened: OpenMesh, desk: Path, command: str) -> dict[str, Any]:
    """What the command prints, as JSON."""
    variables = {"HOST": opened.mesh.ready["url"], "WHIPSCRIBE_KEY": opened.app_key, "FIREBASE_ID_TOKEN": opened.token()}
    done = subprocess.run(["bash", "-c", command], cwd=desk, env={**os.environ, **variables}, capture_output=True, timeout=60, check=True)
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def ended(opened: OpenMesh, answer: dict[str, Any]) -> dict[str, Any]:
    """The row of a guest's job once it has ended."""
    with opened.guest(**{"X-Claim-Token": answer["claim_token"]}) as client:

        def row() -> dict[str, Any] | None:
            found: dict[str, Any] = client.get(f"/api/v1/jobs/{answer['job_id']}").raise_for_status().json()
            return found if found["status"] in ("done", "failed") else None

        return wait_for(row, 120, "the example's job to end", every=0.1)


def test_file_example_is_transcribed(opened: OpenMesh, desk: Path) -> None:
    answer = run(opened, desk, SUBMIT_FILE)
    assert set(answer) == {"job_id", "status", "tier", "claim_token"}
    assert (answer["status"], answer["tier"]) == ("queued", 0)
    row = ended(opened, answer)
    assert (row["status"], row["filename"], row["source"], row["language"]) == ("done", "episode-412.mp3", "api", "en")


def test_url_example_is_accepted_and_its_site_judged(opened: OpenMesh, desk: Path) -> None:
    answer = run(opened, desk, SUBMIT_URL)
    assert answer["status"] == "queued"
    row = ended(opened, answer)
    assert (row["status"], row["source"], row["billed_seconds"]) == ("failed", "url", 0)
    assert row["error_code"] in ("LICENCE_NOT_ALLOWED", "SITE_NOT_SUPPORTED", "FETCH_FAILED")
    assert row["error"]


def test_claim_example_attaches_both_jobs_to_the_user(opened: OpenMesh, desk: Path) -> None:
    tokens = [run(opened, desk, SUBMIT_FILE)["claim_token"] for _ in range(2)]
    command = CLAIM.replace("FIRST", tokens[0]).replace("SECOND", tokens[1])
    assert run(opened, desk, command) == {"claimed": 2}
    assert run(opened, desk, command) == {"claimed": 0}


def test_idempotency_example_is_one_job_and_says_so(opened: OpenMesh, desk: Path) -> None:
    first = run(opened, desk, SUBMIT_ONCE)
    head = (desk / "head").read_text().lower()
    assert head.startswith("http/1.1 202")
    assert "x-idempotent-replay" not in head
    again = run(opened, desk, SUBMIT_ONCE)
    head = (desk / "head").read_text().lower()
    assert head.startswith("http/1.1 200")
    assert "x-idempotent-replay: true" in head
    assert again == first
