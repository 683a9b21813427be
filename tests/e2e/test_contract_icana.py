"""Icana's life of a job against the whole mesh."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tests.e2e.mesh import SAMPLES, Mesh, wait_for
from tests.e2e.scores import words

ROOT = "/icana/api/v1"
CLIP = SAMPLES / "clips" / "two_voices.ogg"


def submitted(mesh: Mesh, **fields: str) -> str:
    with CLIP.open("rb") as file:
        response = mesh.client.post(f"{ROOT}/transcribe", files={"file": ("audio.ogg", file)}, data=fields)
    assert response.status_code == 200, response.text
    job_id: str = response.json()["job_id"]
    return job_id


def finished(mesh: Mesh, job_id: str) -> Mapping[str, Any]:
    def ended() -> Mapping[str, Any] | None:
        row: Mapping[str, Any] = mesh.client.get(f"{ROOT}/jobs/{job_id}").raise_for_status().json()
        return row if row["status"] in ("completed", "failed") else None

    return wait_for(ended, 120, "the job to end", every=0.2)


def usage(mesh: Mesh) -> Mapping[str, Any]:
    found: Mapping[str, Any] = mesh.client.get(f"{ROOT}/usage").raise_for_status().json()
    return found


def test_job_is_submitted_polled_listed_and_counted(mesh: Mesh) -> None:
    before = usage(mesh)["minutes_used"]
    job_id = submitted(mesh, prompt="ACME Corp, KPIs, Dr. Nguyen")
    row = finished(mesh, job_id)
    clip = next(clip for clip in json.loads((SAMPLES / "clips.json").read_text()) if clip["file"] == "clips/two_voices.ogg")
    assert row["status"] == "completed"
    assert abs(row["audio_duration_seconds"] - clip["duration"]) <= 1
    assert len(set(words(clip["text"])) & set(words(row["transcription"]))) >= 0.6 * len(set(words(clip["text"])))
    assert row["diarization"].startswith("[Speaker 1]: ")
    completed = mesh.client.get(f"{ROOT}/jobs", params={"status": "completed", "page_size": 100}).json()
    assert job_id in {item["id"] for item in completed["items"]}
    wait_for(lambda: usage(mesh)["minutes_used"] > before, 30, "the job to be charged")
    assert usage(mesh)["billing_period_start"] == datetime.now(UTC).date().replace(day=1).isoformat()


def test_job_without_a_model_for_its_language_fails_with_a_message(embedded: Mesh) -> None:
    row = finished(embedded, submitted(embedded, language="fr"))
    assert row["status"] == "failed"
    assert "fr" in row["error_message"]
