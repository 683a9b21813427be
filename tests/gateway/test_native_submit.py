"""Submitting over HTTP: the fields, the file, the credit."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from steno.billing.v1.api_key_pb2 import ApiKey
from steno.jobs.v1.job_pb2 import Job, TranscriptionConfig
from tests.gateway.conftest import Running
from tests.gateway.native import AUDIO, assert_error, submit

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_submit_stores_the_bytes_and_answers_202(gateway: Running, client: httpx2.AsyncClient) -> None:
    response = await submit(client, language="en", diarize="false", source="api", num_speakers="3", prompt="Steno", price="0", job_id="x")
    assert response.status_code == 202
    job = gateway.world.jobs[response.json()["job_id"]]
    assert response.json() == {"job_id": job.id, "status": "queued", "tier": 2}
    assert bytes(gateway.world.blobs[job.media_id]) == AUDIO
    config = job.config
    assert (config.language, config.diarize, config.word_timestamps, config.speaker_count, config.prompt) == ("en", False, True, 3, "Steno")
    assert job.source == Job.SOURCE_API
    assert job.filename == "talk.wav"


@pytest.mark.parametrize("source", ["upload", "url", "recording", "api"])
async def test_every_source_is_kept_by_every_submit(client: httpx2.AsyncClient, source: str) -> None:
    answers = [
        await submit(client, source=source),
        await client.post("/api/v1/transcribe/url", json={"url": "https://media.example/a.mp3", "source": source}),
        await client.post("/api/v1/uploads/init", json={"filename": "a.mp3", "source": source}),
    ]
    for answer in answers:
        assert (await client.get(f"/api/v1/jobs/{answer.json()['job_id']}")).json()["source"] == source


async def test_file_without_fields_is_an_upload_in_any_language_with_speakers_and_words(
    gateway: Running, client: httpx2.AsyncClient
) -> None:
    job = gateway.world.jobs[(await submit(client)).json()["job_id"]]
    assert job.source == Job.SOURCE_UPLOAD
    assert job.config == TranscriptionConfig(diarize=True, word_timestamps=True)


async def test_submit_of_a_guest_answers_a_claim_token_the_same_at_every_replay(gateway: Running, client: httpx2.AsyncClient) -> None:
    guest = {"x-api-key": gateway.world.new_key(ApiKey.KIND_APP), "idempotency-key": "once"}
    first, again = [await submit(client, headers=guest) for _ in range(2)]
    assert (first.status_code, again.status_code) == (202, 200)
    assert set(first.json()) == {"job_id", "status", "tier", "claim_token"}
    assert again.json() == first.json()


async def test_second_mount_is_the_same_contract(client: httpx2.AsyncClient) -> None:
    submitted = await client.post("/whipscribe/api/v1/transcribe", files={"file": ("a.wav", AUDIO)})
    assert (await client.get(f"/api/v1/jobs/{submitted.json()['job_id']}")).status_code == 200


async def test_no_credits_carries_snapshot_and_upgrade_url(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.poor.add(gateway.world.workspace_of(client.headers["x-api-key"]))
    body = assert_error(await submit(client), 402, "NO_CREDITS")
    assert body["credits"] == {"available_hours": 0.0, "required_hours": 1.0}
    assert (await client.get(body["upgrade_url"])).json()["available_hours"] == 1.0
    assert gateway.world.media_of(client.headers["x-api-key"]) == []


async def test_guest_is_not_told_what_its_workspace_has_left(gateway: Running, client: httpx2.AsyncClient) -> None:
    secret = gateway.world.new_key(ApiKey.KIND_APP)
    gateway.world.poor.add(gateway.world.workspace_of(secret))
    body = assert_error(await submit(client, headers={"x-api-key": secret}), 402, "NO_CREDITS")
    assert body["credits"] == {"required_hours": 1.0}


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [(b"", 400, "EMPTY_FILE"), (b"TEXT", 415, "BAD_MIME"), (b"BROKEN", 415, "BAD_MIME"), (b"LONG", 413, "DURATION_TOO_LONG")],
)
async def test_refused_media_leaves_nothing(gateway: Running, client: httpx2.AsyncClient, content: bytes, status: int, code: str) -> None:
    assert_error(await submit(client, content), status, code)
    assert gateway.world.media_of(client.headers["x-api-key"]) == []
    assert gateway.world.jobs_of(client.headers["x-api-key"]) == []


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("language", "EN", "BAD_LANGUAGE"),
        ("language", "en-US", "BAD_LANGUAGE"),
        ("language", "e\0", "BAD_LANGUAGE"),
        ("language", "x" * 10_000, "BAD_LANGUAGE"),
        ("language", "xx", "BAD_LANGUAGE"),
        ("source", "foo", "BAD_SOURCE"),
        ("source", "", "BAD_SOURCE"),
        ("diarize", "maybe", "BAD_FIELD"),
        ("diarize", "yes", "BAD_FIELD"),
        ("diarize", ["true", "true"], "BAD_FIELD"),
        ("word_timestamps", "", "BAD_FIELD"),
        ("speaker_count", "0", "BAD_FIELD"),
        ("speaker_count", "٣", "BAD_FIELD"),
        ("num_speakers", "21", "BAD_FIELD"),
        ("prompt", "x" * 4097, "BAD_FIELD"),
        ("prompt", "a\0b", "BAD_FIELD"),
    ],
)
async def test_bad_field_is_422_with_its_place(gateway: Running, client: httpx2.AsyncClient, field: str, value: Any, code: str) -> None:
    body = assert_error(await submit(client, **{field: value}), 422, code)
    assert body["detail"] == [{"loc": ["body", field], "msg": body["error"], "type": code.lower()}]
    assert gateway.world.media_of(client.headers["x-api-key"]) == []


@pytest.mark.parametrize(("text", "value"), [("True", True), ("TRUE", True), ("1", True), ("False", False), ("false", False), ("0", False)])
async def test_boolean_of_a_form_is_read_in_any_case(gateway: Running, client: httpx2.AsyncClient, text: str, value: bool) -> None:
    """Python clients write True and False."""
    job_id = (await submit(client, diarize=text, word_timestamps=text)).json()["job_id"]
    config = gateway.world.jobs[job_id].config
    assert (config.diarize, config.word_timestamps) == (value, value)


async def test_fields_after_the_file_count(client: httpx2.AsyncClient, form: Callable[..., bytes]) -> None:
    body = form(('name="file"; filename="a.wav"', AUDIO), ('name="source"', b"foo"))
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert_error(await client.post("/api/v1/transcribe", content=body, headers=headers), 422, "BAD_SOURCE")
