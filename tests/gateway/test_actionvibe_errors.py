"""ActionVibe: its table of statuses and codes, its rates and its paths, through a gateway."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.gateway.actionvibe import SPELLINGS, UNKNOWN, assert_code, upload
from tests.gateway.conftest import Running, open_gateway
from tests.gateway.native import AUDIO
from tests.gateway.peers.billing import PLAN
from tests.gateway.peers.jobs import UploadLimitExceeded
from tests.gateway.peers.plans import rates_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

UPLOADS = "/api/transcriptions"
READS = ["/api/transcriptions", "/api/transcriptions-list", f"/api/transcription/{UNKNOWN}", "/api/usage"]


async def test_missing_file_is_400_no_file_provided(client: httpx2.AsyncClient) -> None:
    assert_code(await client.post(UPLOADS, files={"other": ("a.wav", b"RIFF")}), 400, "NO_FILE_PROVIDED")
    assert_code(await client.post(UPLOADS, files={"other": ("a.wav", b"RIFF\xff\xfe")}), 400, "NO_FILE_PROVIDED")
    assert_code(await client.post(UPLOADS, files={"other": ("a.wav", bytes(100_000))}), 400, "NO_FILE_PROVIDED")
    assert_code(await client.post(UPLOADS), 400, "NO_FILE_PROVIDED")
    assert_code(await client.post(UPLOADS, data={"title": "a"}), 400, "NO_FILE_PROVIDED")
    assert_code(await client.post(UPLOADS, json={"title": "a"}), 400, "NO_FILE_PROVIDED")
    without_name = await client.post(UPLOADS, files={"file": (None, AUDIO), "title": (None, b"a")})
    assert_code(without_name, 400, "NO_FILE_PROVIDED")


@pytest.mark.parametrize("content", [b"", b"TEXT", b"BROKEN"])
async def test_unsupported_file_is_400_and_leaves_nothing(gateway: Running, client: httpx2.AsyncClient, content: bytes) -> None:
    assert_code(await upload(client, content), 400, "UNSUPPORTED_FILE_TYPE")
    assert gateway.world.media_of(client.headers["x-api-key"]) == []


async def test_too_large_file_is_400_and_names_the_most(gateway: Running, client: httpx2.AsyncClient) -> None:
    head = f"POST {UPLOADS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.headers['x-api-key']}\r\n"
    head += f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {PLAN.max_upload_bytes * 2}\r\n\r\n"
    answer = await gateway.exchange(head.encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["code"] == "FILE_TOO_LARGE"
    assert str(PLAN.max_upload_bytes) in body["error"]


async def test_too_long_audio_is_400_file_too_large(client: httpx2.AsyncClient) -> None:
    assert_code(await upload(client, b"LONG"), 400, "FILE_TOO_LARGE")


async def test_used_up_credit_is_400_monthly_limit_exceeded(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.poor.add(gateway.world.workspace_of(client.headers["x-api-key"]))
    assert_code(await upload(client), 400, "MONTHLY_LIMIT_EXCEEDED")


async def test_used_up_uploads_of_the_month_are_400_monthly_limit_exceeded(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.create_failures.append(UploadLimitExceeded())
    assert_code(await upload(client), 400, "MONTHLY_LIMIT_EXCEEDED")


async def test_busy_server_is_500_and_says_when_to_come_back(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.put_status = 503
    try:
        response = await upload(client)
        assert_code(response, 500, "SERVER_ERROR")
        assert int(response.headers["retry-after"]) > 0
    finally:
        gateway.world.put_status = 200


@pytest.mark.parametrize(
    ("field", "value"),
    [("language", "EN"), ("language", "xx"), ("language", "en-US"), ("title", "a\nb"), ("title", "x" * 256), ("title", ["a", "b"])],
)
async def test_bad_field_is_400_invalid_request(client: httpx2.AsyncClient, field: str, value: Any) -> None:
    assert field in assert_code(await upload(client, **{field: value}), 400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "query",
    [
        *({"page": text} for text in ("0", "-1", "1_0", "٣", "1.5", "abc", "", "9" * 5000)),
        *({"limit": text} for text in ("0", "101", "-1", "x")),
        {"status": "bogus"},
        {"status": "queued"},
    ],
)
async def test_bad_query_is_400_invalid_request(client: httpx2.AsyncClient, query: dict[str, str]) -> None:
    assert_code(await client.get("/api/transcriptions-list", params=query), 400, "INVALID_REQUEST")


async def test_transcription_without_id_is_400_invalid_request(client: httpx2.AsyncClient) -> None:
    assert_code(await client.get("/api/transcription"), 400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "Bearer"}, {"authorization": "Bearer sk_live_unknown"}, {"authorization": "Basic sk_live_unknown"}]
)
async def test_missing_or_invalid_token_is_401_unauthorized(gateway: Running, headers: dict[str, str]) -> None:
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers) as stranger:
        for path in READS:
            assert_code(await stranger.get(path), 401, "UNAUTHORIZED")
        assert_code(await upload(stranger), 401, "UNAUTHORIZED")
        assert_code(await stranger.post("/api/tokens", json={"action": "list"}), 401, "UNAUTHORIZED")


async def test_bearer_token_is_the_key(gateway: Running) -> None:
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"authorization": f"Bearer {gateway.world.new_key()}"}) as client:
        job_id = (await upload(client)).json()["transcription_id"]
        assert (await client.get(f"/api/transcription/{job_id}")).status_code == 200
        assert (await client.get("/api/transcriptions")).json()["pagination"]["total_count"] == 1


async def test_read_only_token_may_not_upload_nor_manage_tokens(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.keys[client.headers["x-api-key"]].scopes.append("read")
    assert_code(await upload(client), 403, "FORBIDDEN")
    assert_code(await client.post("/api/tokens", json={"action": "list"}), 403, "FORBIDDEN")
    assert (await client.get("/api/transcriptions-list")).status_code == 200


async def test_unknown_foreign_and_malformed_transcription_are_the_same_404(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await upload(client)).json()["transcription_id"]
    stranger = {"x-api-key": gateway.world.new_key()}
    foreign = assert_code(await client.get(f"/api/transcription/{job_id}", headers=stranger), 404, "NOT_FOUND")
    for text in (UNKNOWN, "1", "x" * 5000, "{" + UNKNOWN + "}", "%00"):
        assert assert_code(await client.get(f"/api-transcription/{text}"), 404, "NOT_FOUND") == foreign
        assert assert_code(await client.get(f"/api-transcription?id={text}"), 404, "NOT_FOUND") == foreign


async def test_rates_are_10_uploads_100_reads_and_20_token_calls_a_minute(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, shared_rates=False) as gateway:
        gateway.world.rates = rates_of("actionvibe")
        headers = {"authorization": f"Bearer {gateway.world.new_key()}"}
        async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, timeout=60) as client:
            uploads = [await upload(client) for _ in range(11)]
            reads = [await client.get("/api/usage") for _ in range(101)]
            calls = [await client.post("/api-tokens", json={"action": "list"}) for _ in range(21)]
    for responses, success, limit in ((uploads, 201, 10), (reads, 200, 100), (calls, 200, 20)):
        assert [response.status_code for response in responses] == [success] * limit + [429]
        assert_code(responses[-1], 429, "RATE_LIMITED")
        assert 1 <= int(responses[-1].headers["retry-after"]) <= 60
        assert {response.headers["x-ratelimit-limit"] for response in responses} == {str(limit)}
        remaining = [int(response.headers["x-ratelimit-remaining"]) for response in responses]
        assert remaining == [*range(limit - 1, -1, -1), 0]
        assert all(int(response.headers["x-ratelimit-reset"]) > 1_700_000_000 for response in responses)


async def test_fault_behind_the_gateway_is_500_without_its_inside(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.put_status = 500
    try:
        assert "127.0.0.1" not in assert_code(await upload(client), 500, "SERVER_ERROR")
    finally:
        gateway.world.put_status = 200


@pytest.mark.parametrize(
    "path",
    [
        "/actionvibe",
        "/actionvibe/api/nothing",
        "/api/transcriptions/1/2",
        "/api-usage/",
        f"/api-transcription/{UNKNOWN}/x",
        "/api/tokens/1",
    ],
)
async def test_unknown_path_below_the_contracts_own_is_404_in_its_shape(client: httpx2.AsyncClient, path: str) -> None:
    assert_code(await client.get(path), 404, "NOT_FOUND")


async def test_paths_of_nobody_stay_the_native_contracts(client: httpx2.AsyncClient) -> None:
    for path in ("/api/nothing", "/api-nothing", "/nothing"):
        assert set((await client.get(path)).json()) == {"error", "code", "detail"}


@pytest.mark.parametrize("start", SPELLINGS)
async def test_wrong_method_is_405_with_allow(client: httpx2.AsyncClient, start: str) -> None:
    response = await client.delete(f"{start}transcriptions")
    assert_code(response, 405, "METHOD_NOT_ALLOWED")
    assert {"GET", "POST"} <= {method.strip() for method in response.headers["allow"].split(",")}
