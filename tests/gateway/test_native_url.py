"""Submitting URLs over HTTP."""

import asyncio
from typing import Any

import httpx2
import pytest

from steno.billing.v1.api_key_pb2 import ApiKey
from steno.jobs.v1.job_pb2 import Job, JobError
from tests.gateway.conftest import Running
from tests.gateway.native import assert_error, submit

pytestmark = pytest.mark.asyncio(loop_scope="session")
URL = "https://media.example/talks/episode-412.mp3"
PATH = "/api/v1/transcribe/url"


async def test_url_is_accepted_with_its_fields(gateway: Running, client: httpx2.AsyncClient) -> None:
    order = {
        "url": URL,
        "language": "en",
        "diarize": False,
        "word_timestamps": False,
        "source": "api",
        "speaker_count": 2,
        "prompt": "Steno",
    }
    response = await client.post(PATH, json={**order, "price": 0, "job_id": "x"})
    assert response.status_code == 202
    job = gateway.world.jobs[response.json()["job_id"]]
    assert response.json() == {"job_id": job.id, "status": "queued", "tier": 2}
    config = job.config
    assert (config.language, config.diarize, config.word_timestamps, config.speaker_count, config.prompt) == (
        "en",
        False,
        False,
        2,
        "Steno",
    )
    assert job.source == Job.SOURCE_API


async def test_url_alone_is_enough_and_its_source_is_url(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await client.post(PATH, json={"url": URL})).json()["job_id"]
    job = gateway.world.jobs[job_id]
    assert (job.source, job.config.language, job.config.diarize, job.config.word_timestamps) == (Job.SOURCE_URL, "", True, True)
    row = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (row["status"], row["source"], row["waiting_for"]) == ("queued", "url", "fetch")
    assert_error(await client.get(f"/api/v1/jobs/{job_id}/audio/url"), 409, "NOT_READY")


async def test_null_means_unsaid_where_a_value_may_be_unknown(gateway: Running, client: httpx2.AsyncClient) -> None:
    answer = await client.post(PATH, json={"url": URL, "language": None, "prompt": None, "speaker_count": None, "num_speakers": None})
    assert answer.status_code == 202


async def test_guest_gets_a_claim_token_with_its_job(gateway: Running, client: httpx2.AsyncClient) -> None:
    guest = {"x-api-key": gateway.world.new_key(ApiKey.KIND_APP)}
    answer = (await client.post(PATH, json={"url": URL}, headers=guest)).json()
    assert (set(answer), answer["tier"]) == ({"job_id", "status", "tier", "claim_token"}, 0)
    assert len(answer["claim_token"]) == 64


@pytest.mark.parametrize(
    "url",
    [
        "",
        "media.example/a.mp3",
        "ftp://media.example/a.mp3",
        "file:///etc/passwd",
        "data:audio/wav;base64,AAAA",
        "javascript:alert(1)",
        "//media.example/a.mp3",
        "http:/media.example/a.mp3",
        " https://media.example/a.mp3",
        "https://media.example/a b.mp3",
        "https://media.example/\0",
        "https://user:pass@media.example/a.mp3",
        "https://media.example@127.0.0.1/a.mp3",
        "https://media.example:0/",
        "https://media.example:99999/",
        "http://127.0.0.1/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://localhost/",
        "https://media.example/" + "a" * 3000,
    ],
)
async def test_url_that_may_not_be_fetched_is_bad_url(gateway: Running, client: httpx2.AsyncClient, url: str) -> None:
    assert_error(await client.post(PATH, json={"url": url}), 400, "BAD_URL")
    assert gateway.world.jobs_of(client.headers["x-api-key"]) == []


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"url": None}, "url", "BAD_FIELD"),
        ({"url": 5}, "url", "BAD_FIELD"),
        ({"url": [URL]}, "url", "BAD_FIELD"),
        ({"source": "foo"}, "source", "BAD_SOURCE"),
        ({"source": ""}, "source", "BAD_SOURCE"),
        ({"source": 7}, "source", "BAD_SOURCE"),
        ({"source": None}, "source", "BAD_SOURCE"),
        ({"source": ["url"]}, "source", "BAD_SOURCE"),
        ({"language": "EN"}, "language", "BAD_LANGUAGE"),
        ({"language": 5}, "language", "BAD_FIELD"),
        ({"diarize": "true"}, "diarize", "BAD_FIELD"),
        ({"diarize": 1}, "diarize", "BAD_FIELD"),
        ({"word_timestamps": None}, "word_timestamps", "BAD_FIELD"),
        ({"speaker_count": 0}, "speaker_count", "BAD_FIELD"),
        ({"speaker_count": "2"}, "speaker_count", "BAD_FIELD"),
        ({"speaker_count": 2.0}, "speaker_count", "BAD_FIELD"),
        ({"speaker_count": 2, "num_speakers": 3}, "num_speakers", "BAD_FIELD"),
        ({"prompt": "a\0"}, "prompt", "BAD_FIELD"),
        ({"prompt": "x" * 4097}, "prompt", "BAD_FIELD"),
    ],
)
async def test_wrong_field_of_a_url_order_is_422_with_its_place(
    client: httpx2.AsyncClient, changes: dict[str, Any], field: str, code: str
) -> None:
    body = assert_error(await client.post(PATH, json={"url": URL, **changes}), 422, code)
    assert body["detail"] == [{"loc": ["body", field], "msg": body["error"], "type": code.lower()}]


async def test_url_order_without_a_url_is_422(client: httpx2.AsyncClient) -> None:
    assert_error(await client.post(PATH, json={}), 422, "BAD_FIELD")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/x-www-form-urlencoded", b"url=" + URL.encode()),
        ("text/plain", b'{"url":"https://media.example/a.mp3"}'),
        ("application/json", b""),
        ("application/json", b"[]"),
        ("application/json", b'{"url":"https://media.example/a.mp3","speaker_count":NaN}'),
        ("application/json", b'{"url":"https://media.example/\\ud800"}'),
        ("application/json", b'{"url":"\xff"}'),
        ("application/json", b'{"url":' + b"[" * 50_000),
        ("application/json", b'{"speaker_count":' + b"9" * 5000 + b"}"),
        ("application/json", b'{"url":"' + b"a" * 300_000 + b'"}'),
    ],
)
async def test_url_order_that_is_no_json_object_is_400(client: httpx2.AsyncClient, kind: str, body: bytes) -> None:
    assert_error(await client.post(PATH, content=body, headers={"content-type": kind}), 400, "BAD_REQUEST")


async def test_url_order_without_credit_is_402(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.poor.add(gateway.world.workspace_of(client.headers["x-api-key"]))
    body = assert_error(await client.post(PATH, json={"url": URL}), 402, "NO_CREDITS")
    assert body["credits"]["required_hours"] == 1.0
    assert body["upgrade_url"]


async def test_replayed_url_order_answers_the_first_job(gateway: Running, client: httpx2.AsyncClient) -> None:
    key = {"idempotency-key": "job-2026-04-19-abc123"}
    first, again = [await client.post(PATH, json={"url": URL}, headers=key) for _ in range(2)]
    assert (first.status_code, again.status_code) == (202, 200)
    assert "x-idempotent-replay" not in first.headers
    assert again.headers["x-idempotent-replay"] == "true"
    assert again.json() == first.json()
    assert_error(await client.post(PATH, json={"url": URL + "?2"}, headers=key), 422, "IDEMPOTENCY_KEY_REUSED")
    assert_error(await submit(client, headers=key), 422, "IDEMPOTENCY_KEY_REUSED")
    assert_error(await client.post(PATH, json={"url": URL}, headers={"idempotency-key": "a b"}), 400, "BAD_IDEMPOTENCY_KEY")


async def test_racing_url_orders_of_one_key_make_one_job(gateway: Running, client: httpx2.AsyncClient) -> None:
    key = {"idempotency-key": "race"}
    answers = await asyncio.gather(*(client.post(PATH, json={"url": URL}, headers=key) for _ in range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [202]
    assert len(gateway.world.jobs_of(client.headers["x-api-key"])) == 1


@pytest.mark.parametrize("reason", ["FETCH_BLOCKED", "FETCH_FAILED", "NO_CREDITS", "LICENCE_NOT_ALLOWED", "SITE_NOT_SUPPORTED"])
async def test_url_that_cannot_be_transcribed_fails_its_job_with_the_reason(
    gateway: Running, client: httpx2.AsyncClient, reason: str
) -> None:
    job_id = (await client.post(PATH, json={"url": URL})).json()["job_id"]
    gateway.world.jobs[job_id].error.CopyFrom(JobError(reason=reason, message="It did not work."))
    await gateway.world.update(job_id, state=Job.STATE_FAILED)
    row = (await client.get(f"/api/v1/jobs/{job_id}")).json()
    assert (row["status"], row["error"], row["error_code"], row["waiting_for"]) == ("failed", "It did not work.", reason, None)
