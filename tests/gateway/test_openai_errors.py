"""How the OpenAI contract says no, as its official client hears it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from steno.billing.v1.workspace_pb2 import RateClass
from steno.jobs.v1.job_pb2 import Job, JobError
from tests.gateway.conftest import Running, open_gateway
from tests.gateway.openai_client import SOUND, client_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
KEYS = {"message", "type", "param", "code"}
BAD_FIELDS: dict[str, Any] = {
    "response_format": "xml",
    "temperature": 1.5,
    "language": "english",
    "languages": ["en", "klingon"],
    "include": ["probabilities"],
    "timestamp_granularities": ["phoneme"],
    "chunking_strategy": {"type": "server_vad", "threshold": 7},
    "prompt": "\0",
}


async def refused(client: openai.AsyncOpenAI, **asked: Any) -> openai.APIStatusError:
    asked = {"file": SOUND, "model": "whisper-1", **asked}
    with pytest.raises(openai.APIStatusError) as found:
        await client.audio.transcriptions.create(**asked)
    body = found.value.response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == KEYS
    assert found.value.response.headers["x-request-id"]
    return found.value


def told(response: httpx2.Response) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == KEYS
    return dict(body["error"])


@pytest.mark.parametrize("name", BAD_FIELDS)
async def test_bad_parameter_is_named_and_nothing_is_kept(gateway: Running, name: str) -> None:
    async with client_of(gateway) as client:
        error = await refused(client, **{name: BAD_FIELDS[name]})
    assert (error.status_code, error.type, error.param) == (400, "invalid_request_error", name)
    assert gateway.world.media_of(client.api_key) == []


@pytest.mark.parametrize(
    "strategy", ['{"type": "client_vad"}', "sometimes", '{"type": "server_vad", "threshold": "x"}', "[" * 50_000, '{"type":']
)
async def test_strategy_that_is_none_is_refused(gateway: Running, strategy: Any) -> None:
    async with client_of(gateway) as client:
        assert (await refused(client, chunking_strategy=strategy)).param == "chunking_strategy"


async def test_missing_model_and_file_are_named(gateway: Running) -> None:
    headers = {"authorization": f"Bearer {gateway.world.new_key()}"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, verify=False) as client:
        no_model = await client.post("/v1/audio/transcriptions", files={"file": ("a.wav", SOUND)})
        no_file = await client.post("/v1/audio/transcriptions", files={"other": b"x"}, data={"model": "whisper-1"})
        no_form = await client.post("/v1/audio/transcriptions", json={"model": "whisper-1"})
        twice = await client.post("/v1/audio/transcriptions", files={"file": ("a.wav", SOUND)}, data={"model": ["a", "b"]})
    assert [answer.status_code for answer in (no_model, no_file, no_form, twice)] == [400] * 4
    assert [told(answer)["param"] for answer in (no_model, no_file, no_form, twice)] == ["model", "file", None, "model"]


async def test_file_that_is_no_audio_is_refused(gateway: Running) -> None:
    async with client_of(gateway) as client:
        error = await refused(client, file=("talk.mp3", b"TEXT is no sound"))
        empty = await refused(client, file=("talk.mp3", b""))
    assert (error.status_code, error.type, error.param) == (400, "invalid_request_error", "file")
    assert (empty.status_code, empty.param) == (400, "file")


@pytest.mark.parametrize("key", ["sk_live_unknown", "wrong", "eyJhbGciOiJub25lIn0.e30."])
async def test_unknown_key_is_invalid_api_key(gateway: Running, key: str) -> None:
    async with client_of(gateway, key) as client:
        error = await refused(client)
        assert isinstance(error, openai.AuthenticationError)
        assert error.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


async def test_no_credit_is_insufficient_quota_and_not_tried_again(gateway: Running) -> None:
    async with client_of(gateway, max_retries=2) as client:
        gateway.world.poor.add(gateway.world.workspace_of(client.api_key))
        error = await refused(client)
    assert isinstance(error, openai.RateLimitError)
    assert (error.code, error.type) == ("insufficient_quota", "insufficient_quota")
    assert error.response.headers["x-should-retry"] == "false"
    assert error.request.headers["x-stainless-retry-count"] == "0"


async def test_too_many_requests_say_when_to_come_back(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, shared_rates=False) as gateway, client_of(gateway) as client:
        gateway.world.rates.append(RateClass(contract="openai", uploads_per_minute=1))
        first, second = await refused(client, temperature=7), await refused(client, temperature=7)
    assert first.status_code == 400
    assert (second.status_code, second.code) == (429, "rate_limit_exceeded")
    assert 1 <= int(second.response.headers["retry-after"]) <= 60


async def test_large_file_is_413(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, max_upload_bytes=1000) as gateway, client_of(gateway) as client:
        error = await refused(client)
    assert (error.status_code, error.param) == (413, "file")


@pytest.mark.parametrize(
    ("reason", "status", "kind", "param"),
    [
        ("MEDIA_UNPROCESSABLE", 400, "invalid_request_error", "file"),
        ("LANGUAGE_NOT_SUPPORTED", 400, "invalid_request_error", "language"),
        ("TASK_NOT_SUPPORTED", 400, "invalid_request_error", "model"),
        ("TRANSCRIPTION_FAILED", 500, "server_error", None),
        ("ATTEMPTS_EXHAUSTED", 500, "server_error", None),
    ],
)
async def test_failed_job_is_an_error_that_names_it(gateway: Running, reason: str, status: int, kind: str, param: str | None) -> None:
    async with client_of(gateway, max_retries=2) as client:
        call = asyncio.create_task(refused(client), name="call")
        job = await gateway.world.submitted(client.api_key)
        job.error.CopyFrom(JobError(reason=reason, message="It failed."))
        await gateway.world.update(job.id, state=Job.STATE_FAILED)
        error = await call
    assert (error.status_code, error.type, error.param) == (status, kind, param)
    assert error.response.json()["error"]["message"] == "It failed."
    assert error.response.headers["x-steno-job-id"] == job.id
    assert error.request.headers["x-stainless-retry-count"] == "0"


async def test_cancelled_job_is_an_error_and_not_tried_again(gateway: Running) -> None:
    async with client_of(gateway, max_retries=2) as client:
        call = asyncio.create_task(refused(client), name="call")
        job = await gateway.world.submitted(client.api_key)
        await gateway.world.update(job.id, state=Job.STATE_CANCELLED)
        error = await call
    assert (error.code, error.request.headers["x-stainless-retry-count"]) == ("job_cancelled", "0")


@pytest.mark.parametrize("path", ["/v1", "/v1/chat/completions", "/openai/v1/files", "/v1/models/", "/v1/audio"])
async def test_unknown_address_has_the_same_shape(gateway: Running, path: str) -> None:
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"x-api-key": gateway.world.new_key()}, verify=False) as client:
        answer = await client.get(path)
    assert answer.status_code == 404
    assert told(answer)["type"] == "invalid_request_error"


async def test_other_methods_have_the_same_shape(gateway: Running) -> None:
    async with httpx2.AsyncClient(base_url=gateway.url, verify=False) as client:
        answer = await client.put("/v1/audio/transcriptions")
    assert (answer.status_code, told(answer)["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /v1/models HTTP/1.1\r\n\r\n",
        b"GET /openai/v1/models?x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 200 + b"\r\n",
    ],
)
async def test_what_the_parser_refuses_has_the_same_shape(gateway: Running, request_bytes: bytes) -> None:
    head, _, body = (await gateway.exchange(request_bytes)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"x-request-id: " in head
    assert set(json.loads(body)["error"]) == KEYS


async def test_native_addresses_keep_their_own_words_at_the_parser(gateway: Running) -> None:
    body = (await gateway.exchange(b"GET /api/v1/jobs HTTP/1.1\r\n\r\n")).partition(b"\r\n\r\n")[2]
    assert json.loads(body)["code"] == "BAD_REQUEST"
