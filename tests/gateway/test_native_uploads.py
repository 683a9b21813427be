"""Uploads that clients make by themselves: announced, PUT, completed."""

import asyncio
import re
from typing import Any

import httpx2
import pytest

from steno.billing.v1.api_key_pb2 import ApiKey
from steno.jobs.v1.job_pb2 import Job
from tests.gateway.conftest import Running
from tests.gateway.native import AUDIO, assert_error, submit

pytestmark = pytest.mark.asyncio(loop_scope="session")
INIT = "/api/v1/uploads/init"
FILE = {"filename": "episode-412.mp3"}
MOST = 32 * 1024**2


async def announce(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    response = await client.post(INIT, json={**FILE, **fields})
    assert response.status_code == 202, response.text
    announced: dict[str, Any] = response.json()
    return announced


async def test_announced_upload_is_put_without_a_key_and_completed(gateway: Running, client: httpx2.AsyncClient) -> None:
    announced = await announce(client, language="en", source="recording")
    job = gateway.world.jobs[announced["job_id"]]
    assert {name: announced[name] for name in ("status", "tier", "method", "max_bytes")} == {
        "status": "queued",
        "tier": 2,
        "method": "PUT",
        "max_bytes": MOST,
    }
    assert 880 <= announced["expires_in"] <= 900
    assert (job.source, job.config.language, job.filename) == (Job.SOURCE_RECORDING, "en", FILE["filename"])
    assert re.fullmatch(rf"/api/v1/uploads/{job.media_id}\?[A-Za-z0-9=&_-]+", announced["upload_url"])
    async with httpx2.AsyncClient(base_url=gateway.url, verify=False) as browser:
        arrived = await browser.put(announced["upload_url"], content=AUDIO)
    assert (arrived.status_code, arrived.content) == (204, b"")
    assert bytes(gateway.world.blobs[job.media_id]) == AUDIO
    for _ in range(2):
        completed = await client.post(announced["complete_url"])
        assert (completed.status_code, completed.json()) == (202, {"job_id": job.id, "status": "queued", "tier": 2})


async def test_second_mount_takes_uploads_too(client: httpx2.AsyncClient) -> None:
    announced = (await client.post("/whipscribe" + INIT, json=FILE)).json()
    assert (await client.put("/whipscribe" + announced["upload_url"], content=AUDIO)).status_code == 204
    assert (await client.post("/whipscribe" + announced["complete_url"])).status_code == 202


async def test_job_waits_for_its_upload_in_the_open(client: httpx2.AsyncClient) -> None:
    announced = await announce(client)
    row = (await client.get(f"/api/v1/jobs/{announced['job_id']}")).json()
    assert (row["status"], row["waiting_for"], row["filename"], row["source"]) == ("queued", "upload", FILE["filename"], "upload")
    assert_error(await client.get(f"/api/v1/jobs/{announced['job_id']}/audio/url"), 409, "NOT_READY")


async def test_guest_gets_a_claim_token_with_its_upload(gateway: Running, client: httpx2.AsyncClient) -> None:
    guest = {"x-api-key": gateway.world.new_key(ApiKey.KIND_APP)}
    announced = (await client.post(INIT, json=FILE, headers=guest)).json()
    assert (announced["tier"], len(announced["claim_token"])) == (0, 64)
    assert (await client.put(announced["upload_url"], content=AUDIO, headers={"x-api-key": ""})).status_code == 204
    assert_error(await client.post(announced["complete_url"], headers=guest), 401, "AUTHENTICATION_REQUIRED")
    proof = {**guest, "x-claim-token": announced["claim_token"]}
    assert (await client.post(announced["complete_url"], headers=proof)).status_code == 202


async def test_replayed_announcement_answers_the_job_with_a_fresh_url_while_it_waits(client: httpx2.AsyncClient) -> None:
    key = {"idempotency-key": "upload/1"}
    first = await client.post(INIT, json=FILE, headers=key)
    again = await client.post(INIT, json=FILE, headers=key)
    assert (first.status_code, again.status_code, again.headers["x-idempotent-replay"]) == (202, 200, "true")
    assert again.json()["job_id"] == first.json()["job_id"]
    assert again.json()["upload_url"] != first.json()["upload_url"]
    await client.put(again.json()["upload_url"], content=AUDIO)
    await client.post(again.json()["complete_url"])
    late = await client.post(INIT, json=FILE, headers=key)
    assert (late.status_code, late.json()["upload_url"], late.json()["expires_in"]) == (200, None, 0)
    assert_error(await client.post(INIT, json={"filename": "other.mp3"}, headers=key), 422, "IDEMPOTENCY_KEY_REUSED")
    assert_error(await submit(client, headers=key), 422, "IDEMPOTENCY_KEY_REUSED")
    assert_error(await client.post(INIT, json=FILE, headers={"idempotency-key": "a,b"}), 400, "BAD_IDEMPOTENCY_KEY")


async def test_racing_announcements_of_one_key_make_one_job(gateway: Running, client: httpx2.AsyncClient) -> None:
    key = {"idempotency-key": "race"}
    answers = await asyncio.gather(*(client.post(INIT, json=FILE, headers=key) for _ in range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [202]
    assert len(gateway.world.jobs_of(client.headers["x-api-key"])) == 1


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({}, "BAD_FIELD"),
        ({"filename": ""}, "BAD_FIELD"),
        ({"filename": 5}, "BAD_FIELD"),
        ({"filename": "x" * 1025}, "BAD_FIELD"),
        ({**FILE, "size_bytes": 0}, "BAD_FIELD"),
        ({**FILE, "size_bytes": -1}, "BAD_FIELD"),
        ({**FILE, "size_bytes": "5"}, "BAD_FIELD"),
        ({**FILE, "size_bytes": 1.5}, "BAD_FIELD"),
        ({**FILE, "source": "foo"}, "BAD_SOURCE"),
        ({**FILE, "language": "english"}, "BAD_LANGUAGE"),
        ({**FILE, "diarize": "yes"}, "BAD_FIELD"),
    ],
)
async def test_wrong_field_of_an_announcement_is_422(client: httpx2.AsyncClient, order: dict[str, Any], code: str) -> None:
    assert isinstance(assert_error(await client.post(INIT, json=order), 422, code)["detail"], list)


async def test_file_announced_past_the_limit_is_413(client: httpx2.AsyncClient) -> None:
    for size_bytes in (MOST + 1, 2**63):
        body = assert_error(await client.post(INIT, json={**FILE, "size_bytes": size_bytes}), 413, "FILE_TOO_LARGE")
        assert body["max_bytes"] == MOST
    assert (await announce(client, size_bytes=MOST))["max_bytes"] == MOST


async def test_no_more_is_taken_than_was_announced(gateway: Running, client: httpx2.AsyncClient) -> None:
    announced = await announce(client, size_bytes=1000)
    assert (announced["max_bytes"], gateway.world.upload_limits[announced["job_id"]]) == (1000, 1000)


async def test_completing_too_early_is_409_and_may_be_repeated(client: httpx2.AsyncClient) -> None:
    announced = await announce(client)
    assert_error(await client.post(announced["complete_url"]), 409, "UPLOAD_INCOMPLETE")
    await client.put(announced["upload_url"], content=AUDIO)
    assert (await client.post(announced["complete_url"])).status_code == 202


async def test_completing_what_is_no_media_is_415_and_ends_the_job(client: httpx2.AsyncClient) -> None:
    announced = await announce(client)
    await client.put(announced["upload_url"], content=b"TEXT")
    assert_error(await client.post(announced["complete_url"]), 415, "BAD_MIME")
    assert_error(await client.post(announced["complete_url"]), 409, "JOB_ALREADY_ENDED")


async def test_announcing_and_completing_without_credit_is_402(gateway: Running, client: httpx2.AsyncClient) -> None:
    announced = await announce(client)
    await client.put(announced["upload_url"], content=AUDIO)
    gateway.world.poor.add(gateway.world.workspace_of(client.headers["x-api-key"]))
    for answer in (await client.post(announced["complete_url"]), await client.post(INIT, json=FILE)):
        body = assert_error(answer, 402, "NO_CREDITS")
        assert body["credits"]["required_hours"] == 1.0
        assert body["upgrade_url"]


async def test_completing_after_its_time_is_409_and_says_why(gateway: Running, client: httpx2.AsyncClient) -> None:
    announced = await announce(client)
    gateway.world.jobs[announced["job_id"]].error.reason = "UPLOAD_EXPIRED"
    await gateway.world.update(announced["job_id"], state=Job.STATE_FAILED)
    assert assert_error(await client.post(announced["complete_url"]), 409, "JOB_FAILED")["reason"] == "UPLOAD_EXPIRED"
    assert (await client.get(f"/api/v1/jobs/{announced['job_id']}")).json()["error_code"] == "UPLOAD_EXPIRED"


async def test_upload_of_others_looks_unknown(gateway: Running, client: httpx2.AsyncClient) -> None:
    announced = await announce(client)
    other = {"x-api-key": gateway.world.new_key()}
    assert_error(await client.post(announced["complete_url"], headers=other), 404, "NOT_FOUND")
    assert_error(await client.post("/api/v1/uploads/35f4be54-aa3e-4adc-85b7-b44f284d1fc3/complete"), 404, "NOT_FOUND")
    assert_error(await client.post("/api/v1/uploads/1/complete"), 400, "BAD_ID")


@pytest.mark.parametrize("status", [400, 403, 404, 409])
async def test_url_that_storage_refuses_is_404_whatever_is_wrong_with_it(gateway: Running, client: httpx2.AsyncClient, status: int) -> None:
    announced = await announce(client)
    gateway.world.put_status = status
    try:
        assert_error(await client.put(announced["upload_url"], content=AUDIO), 404, "NOT_FOUND")
    finally:
        gateway.world.put_status = 200


@pytest.mark.parametrize(("status", "answer"), [(413, (413, "FILE_TOO_LARGE")), (503, (503, "OVERLOADED")), (500, (502, "BACKEND_ERROR"))])
async def test_storage_that_cannot_take_an_upload_is_told(
    gateway: Running, client: httpx2.AsyncClient, status: int, answer: tuple[int, str]
) -> None:
    announced = await announce(client)
    gateway.world.put_status = status
    try:
        assert_error(await client.put(announced["upload_url"], content=AUDIO), *answer)
    finally:
        gateway.world.put_status = 200


@pytest.mark.parametrize("query", ["", "?", "?expires=%31", "?a=/../b", "?" + "a" * 600])
async def test_upload_url_without_a_signature_is_404(client: httpx2.AsyncClient, query: str) -> None:
    media = "35f4be54-aa3e-4adc-85b7-b44f284d1fc3"
    assert_error(await client.put(f"/api/v1/uploads/{media}{query}", content=AUDIO), 404, "NOT_FOUND")


async def test_upload_is_one_whole_file_of_bounded_size(gateway: Running, client: httpx2.AsyncClient) -> None:
    url = (await announce(client))["upload_url"]
    assert_error(await client.put(url, content=AUDIO, headers={"content-encoding": "gzip"}), 400, "BAD_REQUEST")
    assert_error(await client.put(url, content=AUDIO, headers={"content-range": "bytes 0-3/9"}), 400, "BAD_REQUEST")
    head = f"PUT {url} HTTP/1.1\r\nhost: x\r\ncontent-length: {3 * 1024**3}\r\n\r\n"
    assert b"413 " in (await gateway.exchange(head.encode())).split(b"\r\n")[0]
    assert_error(await client.put("/api/v1/uploads/1?a=1", content=AUDIO), 400, "BAD_ID")


async def test_first_bytes_of_an_upload_reach_storage_before_the_last_are_sent(gateway: Running, client: httpx2.AsyncClient) -> None:
    announced = await announce(client)
    media_id = gateway.world.jobs[announced["job_id"]].media_id
    reader, writer = await gateway.connect()
    writer.write(f"PUT {announced['upload_url']} HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\nRIFF".encode())
    async with asyncio.timeout(60), gateway.world.changed:
        await gateway.world.changed.wait_for(lambda: bytes(gateway.world.blobs.get(media_id, b"")) == b"RIFF")
    writer.write(b"WAVE")
    assert b"204 " in await asyncio.wait_for(reader.readline(), 5)
    writer.close()


async def test_upload_broken_off_is_not_complete(gateway: Running, client: httpx2.AsyncClient) -> None:
    announced = await announce(client)
    _, writer = await gateway.connect()
    writer.write(f"PUT {announced['upload_url']} HTTP/1.1\r\nhost: x\r\ncontent-length: 8\r\n\r\nRIFF".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert_error(await client.post(announced["complete_url"]), 409, "UPLOAD_INCOMPLETE")


async def test_browsers_may_put_to_upload_urls_and_nowhere_else(client: httpx2.AsyncClient) -> None:
    announced = await announce(client)
    asks = {"origin": "https://app.example", "access-control-request-method": "PUT"}
    preflight = await client.options(announced["upload_url"], headers=asks)
    assert (preflight.status_code, preflight.headers["access-control-allow-methods"]) == (204, "PUT")
    assert (await client.options(announced["complete_url"], headers=asks)).headers["access-control-allow-methods"] == "GET, POST"
    arrived = await client.put(announced["upload_url"], content=AUDIO, headers={"origin": "https://app.example"})
    assert (arrived.status_code, arrived.headers["access-control-allow-origin"]) == (204, "*")


async def test_only_put_goes_to_an_upload_url(client: httpx2.AsyncClient) -> None:
    response = await client.get((await announce(client))["upload_url"])
    assert_error(response, 405, "METHOD_NOT_ALLOWED")
    assert response.headers["allow"] == "PUT"
