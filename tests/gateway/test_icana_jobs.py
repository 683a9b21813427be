"""Icana: submitting, polling and listing through a gateway."""

import re
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.transcript_pb2 import Transcript
from tests.gateway.conftest import Running
from tests.gateway.native import AUDIO, TRANSCRIPT

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = "/icana/api/v1"
KEYS = {
    "id",
    "quality",
    "status",
    "original_filename",
    "language",
    "audio_duration_seconds",
    "audio_duration_minutes",
    "transcription",
    "diarization",
    "error_message",
    "created_at",
    "completed_at",
}
SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


async def submit(client: httpx2.AsyncClient, content: bytes = AUDIO, *, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    return await client.post(f"{ROOT}/transcribe", files={"file": ("audio.mp3", content)}, data=fields, headers=headers or {})


async def submitted(client: httpx2.AsyncClient, **fields: Any) -> str:
    response = await submit(client, **fields)
    assert response.status_code == 200, response.text
    job_id: str = response.json()["job_id"]
    return job_id


async def job(client: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    response = await client.get(f"{ROOT}/jobs/{job_id}")
    assert response.status_code == 200, response.text
    row: dict[str, Any] = response.json()
    return row


async def test_submit_answers_200_with_job_id_status_processing_and_message(gateway: Running, client: httpx2.AsyncClient) -> None:
    response = await submit(client, prompt="ACME Corp, KPIs")
    body = response.json()
    assert response.status_code == 200
    assert set(body) == {"job_id", "status", "message"}
    assert body["status"] == "processing"
    assert body["message"]
    stored = gateway.world.jobs[body["job_id"]]
    config = stored.config
    assert (config.language, config.diarize, config.word_timestamps, config.prompt) == ("en", True, True, "ACME Corp, KPIs")
    assert (stored.source, stored.filename) == (Job.SOURCE_API, "audio.mp3")
    assert bytes(gateway.world.blobs[stored.media_id]) == AUDIO


@pytest.mark.parametrize(("sent", "asked"), [("de", "de"), ("", "en"), ("auto", "")])
async def test_language_is_english_unless_given(gateway: Running, client: httpx2.AsyncClient, sent: str, asked: str) -> None:
    assert gateway.world.jobs[await submitted(client, language=sent)].config.language == asked


async def test_end_of_a_long_prompt_is_what_counts(gateway: Running, client: httpx2.AsyncClient) -> None:
    prompt = "ä" * 10_000 + ", Dr. Nguyen"
    kept = gateway.world.jobs[await submitted(client, prompt=prompt)].config.prompt
    assert kept == prompt[-len(kept) :]
    assert 4090 <= len(kept.encode()) <= 4096


async def test_job_carries_every_key_and_null_where_nothing_is_known(client: httpx2.AsyncClient) -> None:
    row = await job(client, await submitted(client))
    assert set(row) == KEYS
    assert (row["status"], row["original_filename"], row["language"]) == ("pending", "audio.mp3", "en")
    unknown = KEYS - {"id", "status", "original_filename", "language", "created_at"}
    assert {row[name] for name in unknown} == {None}


async def test_times_are_rfc_3339_in_whole_seconds_and_utc(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    await gateway.world.finish(job_id, TRANSCRIPT)
    row = await job(client, job_id)
    assert SECOND.fullmatch(row["created_at"])
    assert SECOND.fullmatch(row["completed_at"])


async def test_completed_job_has_its_text_its_speakers_and_its_length(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    gateway.world.jobs[job_id].audio_duration_ms = 180_000
    await gateway.world.finish(job_id, TRANSCRIPT)
    row = await job(client, job_id)
    assert row["status"] == "completed"
    assert (row["audio_duration_seconds"], row["audio_duration_minutes"]) == (180, 3.0)
    assert row["transcription"] == "Good morning. Hello."
    assert row["diarization"] == "[Speaker 1]: Good morning.\n[Speaker 2]: Hello."
    assert row["error_message"] is None


async def test_completed_job_without_speech_has_empty_texts(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = await submitted(client)
    await gateway.world.finish(job_id, Transcript(speech_detected=False))
    row = await job(client, job_id)
    assert (row["status"], row["transcription"], row["diarization"]) == ("completed", "", "")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (Job.STATE_QUEUED, "pending"),
        (Job.STATE_PROCESSING, "processing"),
        (Job.STATE_FAILED, "failed"),
        (Job.STATE_CANCELLED, "failed"),
    ],
)
async def test_states_are_pending_processing_completed_and_failed(
    gateway: Running, client: httpx2.AsyncClient, state: Job.State.ValueType, status: str
) -> None:
    job_id = await submitted(client)
    await gateway.world.update(job_id, state=state)
    assert (await job(client, job_id))["status"] == status


async def test_failed_and_cancelled_jobs_say_why(gateway: Running, client: httpx2.AsyncClient) -> None:
    failed, cancelled = await submitted(client), await submitted(client)
    gateway.world.jobs[failed].error.reason = "TRANSCRIPTION_FAILED"
    gateway.world.jobs[failed].error.message = "The model failed."
    await gateway.world.update(failed, state=Job.STATE_FAILED)
    await gateway.world.update(cancelled, state=Job.STATE_CANCELLED)
    assert (await job(client, failed))["error_message"] == "The model failed."
    assert "cancelled" in (await job(client, cancelled))["error_message"]


async def test_list_has_items_total_page_page_size_and_has_more(client: httpx2.AsyncClient) -> None:
    ids = [await submitted(client) for _ in range(3)]
    first = (await client.get(f"{ROOT}/jobs", params={"page_size": 2})).json()
    assert {name: first[name] for name in first if name != "items"} == {"total": 3, "page": 1, "page_size": 2, "has_more": True}
    assert [row["id"] for row in first["items"]] == [ids[2], ids[1]]
    assert set(first["items"][0]) == KEYS
    second = (await client.get(f"{ROOT}/jobs", params={"page_size": 2, "page": 2})).json()
    assert ([row["id"] for row in second["items"]], second["has_more"]) == ([ids[0]], False)


async def test_list_is_page_1_of_20_unless_asked(client: httpx2.AsyncClient) -> None:
    await submitted(client)
    body = (await client.get(f"{ROOT}/jobs")).json()
    assert (body["page"], body["page_size"], body["total"], body["has_more"]) == (1, 20, 1, False)


@pytest.mark.parametrize("page", ["2", "1000000", "999999999"])
async def test_page_beyond_the_end_is_empty(client: httpx2.AsyncClient, page: str) -> None:
    await submitted(client)
    response = await client.get(f"{ROOT}/jobs", params={"page": page, "page_size": 100})
    assert response.status_code == 200
    body = response.json()
    assert (body["items"], body["total"], body["has_more"]) == ([], 1, False)


@pytest.mark.parametrize("status", ["pending", "processing", "completed", "failed"])
async def test_list_filters_by_status(gateway: Running, client: httpx2.AsyncClient, status: str) -> None:
    states = {"pending": Job.STATE_QUEUED, "processing": Job.STATE_PROCESSING, "completed": Job.STATE_DONE, "failed": Job.STATE_FAILED}
    ids = {name: await submitted(client) for name in states}
    for name, state in states.items():
        await gateway.world.update(ids[name], state=state)
    body = (await client.get(f"{ROOT}/jobs", params={"status": status})).json()
    assert [(row["id"], row["status"]) for row in body["items"]] == [(ids[status], status)]
    assert body["total"] == 1


@pytest.mark.parametrize(
    "query",
    [
        *({"page": text} for text in ("0", "-1", "1_0", "٣", "1.5", "abc", "", "9" * 5000)),
        *({"page_size": text} for text in ("0", "101", "-1", "x")),
        {"status": "bogus"},
        {"page": ["1", "2"]},
    ],
)
async def test_bad_query_is_400(client: httpx2.AsyncClient, query: dict[str, Any]) -> None:
    response = await client.get(f"{ROOT}/jobs", params=query)
    assert response.status_code == 400
    assert set(response.json()) == {"detail"}


async def test_same_idempotency_key_answers_the_first_job(client: httpx2.AsyncClient) -> None:
    headers = {"idempotency-key": "once"}
    first, second = await submit(client, headers=headers), await submit(client, headers=headers)
    assert first.json() == second.json()
    assert second.headers["x-idempotent-replay"] == "true"
    assert second.status_code == 200


async def test_truncated_form_is_400(client: httpx2.AsyncClient, form: Callable[..., bytes]) -> None:
    body = form(('name="file"; filename="a.wav"', AUDIO), closed=False)
    response = await client.post(f"{ROOT}/transcribe", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert response.status_code == 400
