"""Every job is charged once, for what was decoded, or not at all."""

import json
import math
import wave
from pathlib import Path

import numpy as np

from tests.e2e.ledger import read_ledger
from tests.e2e.mesh import SAMPLES, Mesh, wait_for
from tests.inference.conftest import decode
from tests.inference.sounds import looped

HELLO = SAMPLES / "clips" / "hello.flac"
CLIPS = {clip["file"]: clip for clip in json.loads((SAMPLES / "clips.json").read_text())}


def test_speech_costs_its_length_and_silence_nothing(mesh: Mesh) -> None:
    spoken = mesh.submitted(HELLO)
    silent = mesh.submitted(SAMPLES / "clips" / "silence.flac")
    mesh.finished(spoken)
    mesh.finished(silent)
    wait_for(lambda: not read_ledger(mesh).open_holds, 20, "holds to be settled")
    ledger = read_ledger(mesh)
    length_ms = math.ceil(CLIPS["clips/hello.flac"]["duration"] * 1000)
    assert abs(ledger.charged_ms[spoken] - length_ms) <= 1
    assert ledger.charged_ms.get(silent, 0) == 0
    assert ledger.imbalance_ms == 0


def test_cancelled_job_costs_nothing(mesh: Mesh) -> None:
    job_id = mesh.submitted(SAMPLES / "meeting.flac")
    assert mesh.client.delete(f"/api/v1/jobs/{job_id}").status_code == 204
    assert mesh.finished(job_id)["status"] == "cancelled"
    wait_for(lambda: not read_ledger(mesh).open_holds, 20, "the hold to be released")
    assert read_ledger(mesh).charged_ms.get(job_id, 0) == 0
    assert mesh.client.get(f"/api/v1/jobs/{job_id}/result").status_code == 409
    assert mesh.client.delete(f"/api/v1/jobs/{job_id}").status_code == 204
    assert mesh.client.get(f"/api/v1/jobs/{job_id}").status_code == 404


def test_strict_job_with_a_gap_fails_and_costs_nothing_and_another_says_where_it_is(embedded: Mesh, tmp_path: Path) -> None:
    recording = tmp_path / "hung.wav"
    with wave.open(str(recording), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.concatenate([decode(HELLO), np.zeros(48_000, np.int16), looped(600, 350, pause_ms=150)]).tobytes())
    strict, lenient = embedded.submitted(recording, strict="true"), embedded.submitted(recording)
    row = embedded.finished(strict)
    assert (row["status"], row["error_code"], row["strict"]) == ("failed", "TRANSCRIPT_INCOMPLETE", True)
    assert row["error"]
    assert embedded.finished(lenient)["status"] == "done"
    wait_for(lambda: not read_ledger(embedded).open_holds, 20, "holds to be settled")
    charged_ms = read_ledger(embedded).charged_ms
    assert (charged_ms.get(strict, 0), charged_ms[lenient]) == (0, round(row["audio_duration_seconds"] * 1000))
    transcript = embedded.result(lenient)
    assert "thank you for calling" in transcript["text"].lower()
    assert {gap["reason"] for gap in transcript["gaps"]} == {"REPETITIVE_AUDIO"}


def test_repeated_submit_makes_and_charges_one_job(mesh: Mesh) -> None:
    key = {"Idempotency-Key": "once:1"}
    first = mesh.submit(HELLO, key)
    again = mesh.submit(HELLO, key)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.headers["X-Idempotent-Replay"] == "true"
    assert first.json()["job_id"] == again.json()["job_id"]
    other = mesh.submit(SAMPLES / "clips" / "silence.flac", key)
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    mesh.finished(first.json()["job_id"])
