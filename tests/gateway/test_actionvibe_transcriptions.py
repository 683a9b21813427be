"""ActionVibe: uploading, reading and listing through a gateway."""

import re
from typing import Any

import httpx2
import pytest

from services.gateway.contracts.actionvibe.rows import estimated_time
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.transcript_pb2 import Transcript
from tests.gateway.actionvibe import SPELLINGS, upload, uploaded
from tests.gateway.conftest import Running
from tests.gateway.native import AUDIO, TRANSCRIPT

pytestmark = pytest.mark.asyncio(loop_scope="session")

KEYS = {
    "id",
    "quality",
    "title",
    "content",
    "summary",
    "status",
    "language",
    "file_size",
    "duration",
    "error_message",
    "created_at",
    "updated_at",
}
SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


async def transcription(client: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    response = await client.get(f"/api/transcription/{job_id}")
    assert response.status_code == 200, response.text
    row: dict[str, Any] = response.json()
    return row


@pytest.mark.parametrize("start", SPELLINGS)
async def test_upload_answers_201_with_id_status_message_and_estimated_time(
    gateway: Running, client: httpx2.AsyncClient, start: str
) -> None:
    response = await upload(client, start=start, title="Team Standup", language="de")
    body = response.json()
    assert response.status_code == 201
    assert set(body) == {"transcription_id", "status", "message", "estimated_time"}
    assert (body["status"], body["estimated_time"]) == ("processing", "1-2 minutes")
    assert body["message"]
    stored = gateway.world.jobs[body["transcription_id"]]
    assert (stored.title, stored.config.language, stored.config.diarize, stored.source) == ("Team Standup", "de", True, Job.SOURCE_API)
    assert bytes(gateway.world.blobs[stored.media_id]) == AUDIO


async def test_title_is_api_upload_and_language_english_unless_given(gateway: Running, client: httpx2.AsyncClient) -> None:
    for fields in ({}, {"title": " ", "language": ""}):
        stored = gateway.world.jobs[await uploaded(client, **fields)]
        assert (stored.title, stored.config.language) == ("API Upload", "en")


@pytest.mark.parametrize(
    ("audio_minutes", "said"), [(0, "1-2 minutes"), (1, "1-2 minutes"), (5, "1-5 minutes"), (30, "3-30 minutes"), (600, "60-600 minutes")]
)
async def test_estimated_time_follows_the_length_of_the_audio(audio_minutes: int, said: str) -> None:
    assert estimated_time(audio_minutes * 60_000) == said


@pytest.mark.parametrize("start", SPELLINGS)
async def test_transcription_is_read_by_path_and_by_query(client: httpx2.AsyncClient, start: str) -> None:
    job_id = await uploaded(client)
    by_path = await client.get(f"{start}transcription/{job_id}")
    by_query = await client.get(f"{start}transcription", params={"id": job_id.upper()})
    assert by_path.status_code == by_query.status_code == 200
    assert by_path.json() == by_query.json()
    assert by_path.json()["id"] == job_id


async def test_completed_transcription_has_every_field(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = await uploaded(client, title="Team Standup")
    gateway.world.jobs[job_id].audio_duration_ms = 1_800_000
    await gateway.world.finish(job_id, TRANSCRIPT)
    row = await transcription(client, job_id)
    assert set(row) == KEYS
    assert (row["id"], row["title"], row["status"], row["language"]) == (job_id, "Team Standup", "completed", "en")
    assert (row["content"], row["summary"]) == ("Good morning. Hello.", "Good morning. Hello.")
    assert (row["file_size"], row["duration"], row["error_message"]) == (len(AUDIO), 1800, None)
    assert SECOND.fullmatch(row["created_at"])
    assert SECOND.fullmatch(row["updated_at"])
    assert row["created_at"] <= row["updated_at"]


async def test_transcription_under_way_has_null_for_what_is_not_known(client: httpx2.AsyncClient) -> None:
    row = await transcription(client, await uploaded(client))
    assert set(row) == KEYS
    assert (row["status"], row["language"], row["file_size"], row["duration"]) == ("processing", "en", len(AUDIO), 1)
    assert {row[name] for name in ("content", "summary", "error_message")} == {None}
    assert row["updated_at"] == row["created_at"]


async def test_transcription_without_speech_is_completed_and_empty(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = await uploaded(client)
    await gateway.world.finish(job_id, Transcript(speech_detected=False))
    row = await transcription(client, job_id)
    assert (row["status"], row["content"], row["summary"]) == ("completed", "", "")


async def test_file_size_is_null_once_the_audio_is_deleted(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = await uploaded(client)
    del gateway.world.media[gateway.world.jobs[job_id].media_id]
    assert (await transcription(client, job_id))["file_size"] is None


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (Job.STATE_QUEUED, "processing"),
        (Job.STATE_PROCESSING, "processing"),
        (Job.STATE_FAILED, "failed"),
        (Job.STATE_CANCELLED, "failed"),
    ],
)
async def test_statuses_are_processing_completed_and_failed(
    gateway: Running, client: httpx2.AsyncClient, state: Job.State.ValueType, status: str
) -> None:
    job_id = await uploaded(client)
    await gateway.world.update(job_id, state=state)
    assert (await transcription(client, job_id))["status"] == status


async def test_failed_and_cancelled_transcriptions_say_why(gateway: Running, client: httpx2.AsyncClient) -> None:
    failed, cancelled = await uploaded(client), await uploaded(client)
    gateway.world.jobs[failed].error.reason = "TRANSCRIPTION_FAILED"
    gateway.world.jobs[failed].error.message = "The model failed."
    await gateway.world.update(failed, state=Job.STATE_FAILED)
    await gateway.world.update(cancelled, state=Job.STATE_CANCELLED)
    assert (await transcription(client, failed))["error_message"] == "The model failed."
    assert "cancelled" in (await transcription(client, cancelled))["error_message"]


@pytest.mark.parametrize("path", [f"{start}{name}" for start in SPELLINGS for name in ("transcriptions-list", "transcriptions")])
async def test_list_has_transcriptions_and_pagination_at_every_spelling(client: httpx2.AsyncClient, path: str) -> None:
    ids = [await uploaded(client, title=f"Talk {number}") for number in range(3)]
    body = (await client.get(path, params={"page": 2, "limit": 2})).json()
    assert set(body) == {"transcriptions", "pagination"}
    assert body["pagination"] == {"page": 2, "limit": 2, "total_count": 3, "total_pages": 2}
    (row,) = body["transcriptions"]
    assert set(row) == {"id", "title", "status", "created_at"}
    assert (row["id"], row["title"], row["status"]) == (ids[0], "Talk 0", "processing")
    assert SECOND.fullmatch(row["created_at"])


async def test_list_is_page_1_of_20_newest_first_unless_asked(client: httpx2.AsyncClient) -> None:
    ids = [await uploaded(client) for _ in range(2)]
    body = (await client.get("/api/transcriptions-list")).json()
    assert body["pagination"] == {"page": 1, "limit": 20, "total_count": 2, "total_pages": 1}
    assert [row["id"] for row in body["transcriptions"]] == ids[::-1]


async def test_empty_list_has_no_pages(client: httpx2.AsyncClient) -> None:
    body = (await client.get("/api/transcriptions-list", params={"page": 7})).json()
    assert body == {"transcriptions": [], "pagination": {"page": 7, "limit": 20, "total_count": 0, "total_pages": 0}}


@pytest.mark.parametrize(("status", "found"), [("all", 3), ("processing", 1), ("completed", 1), ("failed", 1)])
async def test_list_filters_by_status(gateway: Running, client: httpx2.AsyncClient, status: str, found: int) -> None:
    states = {"processing": Job.STATE_PROCESSING, "completed": Job.STATE_DONE, "failed": Job.STATE_CANCELLED}
    for state in states.values():
        await gateway.world.update(await uploaded(client), state=state)
    body = (await client.get("/api/transcriptions-list", params={"status": status})).json()
    assert body["pagination"]["total_count"] == len(body["transcriptions"]) == found
    assert {row["status"] for row in body["transcriptions"]} == (set(states) if status == "all" else {status})


async def test_same_idempotency_key_answers_the_first_transcription(client: httpx2.AsyncClient) -> None:
    headers = {"idempotency-key": "once"}
    first, second = await upload(client, headers=headers), await upload(client, headers=headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert second.headers["x-idempotent-replay"] == "true"
