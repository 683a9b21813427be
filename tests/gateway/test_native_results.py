"""Transcripts and recordings over HTTP."""

from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from steno.jobs.v1.job_pb2 import Job, JobError
from steno.jobs.v1.transcript_pb2 import Transcript
from tests.gateway.conftest import Running
from tests.gateway.native import AUDIO, TRANSCRIPT, assert_error, submit

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("txt", "text/plain"),
        ("json", "application/json"),
        ("srt", "text/plain"),
        ("vtt", "text/plain"),
        ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ],
)
async def test_result_in_every_format(gateway: Running, client: httpx2.AsyncClient, form: str, kind: str) -> None:
    job_id = (await submit(client)).json()["job_id"]
    await gateway.world.finish(job_id, TRANSCRIPT)
    response = await client.get(f"/api/v1/jobs/{job_id}/result", params={"format": form})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(kind)
    assert response.content == (await client.get(f"/api/v1/jobs/{job_id}/transcript", params={"format": form})).content or form == "docx"
    starts = {"txt": b"SPEAKER_00: Good morning.", "json": b'{"text":', "srt": b"1\n00:00:00,000", "vtt": b"WEBVTT", "docx": b"PK"}
    assert response.content.startswith(starts[form])


async def test_transcript_is_read_as_the_gateway_for_the_workspace(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    await gateway.world.finish(job_id, TRANSCRIPT)
    gateway.world.signed_by.clear()
    for _ in range(2):
        assert (await client.get(f"/api/v1/jobs/{job_id}/result")).json()["text"] == "Good morning. Hello."
    assert gateway.world.signed_by == [f"service:gateway:{gateway.world.workspace_of(client.headers['x-api-key'])}"]


@pytest.mark.parametrize("query", ["format=exe", "format=", "format=JSON", "format=txt&format=srt"])
async def test_unknown_format_is_bad_format(client: httpx2.AsyncClient, query: str) -> None:
    assert_error(await client.get(f"/api/v1/jobs/35f4be54-aa3e-4adc-85b7-b44f284d1fc3/result?{query}"), 400, "BAD_FORMAT")


async def test_result_before_the_end_and_after_a_failure(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    assert_error(await client.get(f"/api/v1/jobs/{job_id}/result"), 409, "NOT_READY")
    gateway.world.jobs[job_id].error.CopyFrom(JobError(reason="MEDIA_UNPROCESSABLE", message="Nothing decodes."))
    await gateway.world.update(job_id, state=Job.STATE_FAILED)
    assert assert_error(await client.get(f"/api/v1/jobs/{job_id}/result"), 409, "JOB_FAILED")["error"] == "Nothing decodes."
    row = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (row["status"], row["error"], row["error_code"]) == ("failed", "Nothing decodes.", "MEDIA_UNPROCESSABLE")
    await gateway.world.update(job_id, state=Job.STATE_CANCELLED)
    assert_error(await client.get(f"/api/v1/jobs/{job_id}/result"), 409, "JOB_CANCELLED")


async def test_playback_url_is_relayed_with_ranges_and_without_key(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    body = (await client.get(f"/api/v1/jobs/{job_id}/audio/url")).json()
    assert (set(body), body["storage"]) == ({"url", "storage", "expires_in"}, "disk")
    assert 590 <= body["expires_in"] <= 600
    async with httpx2.AsyncClient(base_url=gateway.url, verify=False) as browser:
        whole = await browser.get("/api" + body["url"])
        assert (whole.status_code, whole.content) == (200, AUDIO)
        assert whole.headers["content-disposition"] == "attachment"
        assert whole.headers["x-content-type-options"] == "nosniff"
        part = await browser.get("/api" + body["url"], headers={"range": "bytes=0-3"})
        assert (part.status_code, part.content, part.headers["content-range"]) == (206, AUDIO[:4], f"bytes 0-3/{len(AUDIO)}")
        odd = await browser.get("/api" + body["url"], headers=[(b"range", "bytes=٠-١".encode())])
        assert (odd.status_code, odd.content) == (200, AUDIO)
        unknown = await browser.get("/api/v1/media/35f4be54-aa3e-4adc-85b7-b44f284d1fc3?expires=1&signature=a")
        assert_error(unknown, 404, "NOT_FOUND")


async def test_playback_url_works_below_either_prefix(client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    for prefix in ("/api", "/whipscribe/api"):
        body = (await client.get(f"{prefix}/v1/jobs/{job_id}/audio/url")).json()
        assert (await client.get(prefix + body["url"])).content == AUDIO


async def test_playback_url_of_an_object_store_is_complete_and_names_it(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    gateway.world.bucket_url = "https://bucket.example/recordings"
    try:
        body = (await client.get(f"/api/v1/jobs/{job_id}/audio/url")).json()
    finally:
        gateway.world.bucket_url = ""
    assert body["storage"] == "recordings"
    assert body["url"].startswith("https://bucket.example/recordings/")


async def test_audio_without_speech_is_done_with_an_empty_transcript(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    await gateway.world.finish(job_id, Transcript(speech_detected=False, speech_ratio=0.02))
    row = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (row["status"], row["speech_detected"], row["speech_ratio"], row["language"]) == ("done", False, 0.02, None)
    document = (await client.get(f"/api/v1/jobs/{job_id}/result", params={"format": "json"})).json()
    assert document.pop("suggestion")
    assert document == {"text": "", "language": None, "segments": [], "speech_detected": False, "speech_ratio": 0.02}


async def test_json_transcript_has_segments_speakers_and_word_times(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    await gateway.world.finish(job_id, TRANSCRIPT)
    document = (await client.get(f"/api/v1/jobs/{job_id}/result", params={"format": "json"})).json()
    assert (document["text"], document["language"]) == ("Good morning. Hello.", "en")
    first = document["segments"][0]
    assert (first["start"], first["end"], first["speaker"], first["text"]) == (0.0, 1.2, "SPEAKER_00", "Good morning.")
    assert first["words"][0] == {"start": 0.0, "end": 0.5, "text": "Good"}


async def test_deleted_audio_is_missing(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    del gateway.world.media[gateway.world.jobs[job_id].media_id]
    assert "retention_days" not in assert_error(await client.get(f"/api/v1/jobs/{job_id}/audio/url"), 410, "AUDIO_MISSING")


@pytest.mark.parametrize("swept", [True, False])
async def test_audio_past_its_retention_is_expired_and_the_transcript_stays(
    gateway: Running, client: httpx2.AsyncClient, swept: bool
) -> None:
    job_id = (await submit(client)).json()["job_id"]
    await gateway.world.finish(job_id, TRANSCRIPT)
    job = gateway.world.jobs[job_id]
    job.retention_days = 7
    job.audio_expire_time.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    assert (await client.get(f"/api/v1/jobs/{job_id}/audio/url")).status_code == 200
    job.audio_expire_time.FromDatetime(datetime.now(UTC) - timedelta(seconds=1))
    if swept:
        del gateway.world.media[job.media_id]
    assert assert_error(await client.get(f"/api/v1/jobs/{job_id}/audio/url"), 410, "AUDIO_EXPIRED")["retention_days"] == 7
    assert (await client.get(f"/api/v1/jobs/{job_id}/result")).status_code == 200
