"""Icana: usage, errors and rates through a gateway."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from steno.billing.v1.workspace_pb2 import Plan
from tests.gateway.conftest import Running, open_gateway
from tests.gateway.native import AUDIO
from tests.gateway.peers.billing import PLAN
from tests.gateway.peers.jobs import UploadLimitExceeded
from tests.gateway.peers.plans import rates_of, usage_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = "/icana/api/v1"
UNKNOWN = "35f4be54-aa3e-4adc-85b7-b44f284d1fc3"


def assert_detail(response: httpx2.Response, status: int) -> str:
    body: dict[str, Any] = response.json()
    assert response.status_code == status, body
    assert set(body) == {"detail"}
    assert isinstance(body["detail"], str)
    assert body["detail"]
    assert response.headers["x-request-id"]
    return body["detail"]


async def submit(client: httpx2.AsyncClient, content: bytes = AUDIO, headers: dict[str, str] | None = None, **fields: Any) -> Any:
    return await client.post(f"{ROOT}/transcribe", files={"file": ("audio.mp3", content)}, data=fields, headers=headers or {})


async def test_usage_has_every_field_with_inclusive_dates(gateway: Running, client: httpx2.AsyncClient) -> None:
    plan = Plan(name="professional", title="Professional", overage_cents_per_minute=25)
    gateway.world.usages[gateway.world.workspace_of(client.headers["x-api-key"])] = usage_of(
        plan, included_ms=30_000_000, used_ms=7_407_000, remaining_ms=22_593_000
    )
    assert (await client.get(f"{ROOT}/usage")).json() == {
        "billing_period_start": "2025-02-01",
        "billing_period_end": "2025-02-28",
        "included_minutes": 500,
        "minutes_used": 123.45,
        "minutes_remaining": 376.55,
        "overage_minutes": 0,
        "overage_rate_cents": 25,
        "estimated_overage_cost_cents": 0,
        "plan_name": "Professional",
    }


async def test_usage_beyond_the_plan_costs_cents(gateway: Running, client: httpx2.AsyncClient) -> None:
    usage = usage_of(Plan(name="pro", overage_cents_per_minute=25), month=12, used_ms=660_000, overage_ms=60_000, overage_cents=25)
    gateway.world.usages[gateway.world.workspace_of(client.headers["x-api-key"])] = usage
    body = (await client.get(f"{ROOT}/usage")).json()
    assert (body["overage_minutes"], body["overage_rate_cents"], body["estimated_overage_cost_cents"]) == (1, 25, 25)
    assert (body["billing_period_start"], body["billing_period_end"], body["plan_name"]) == ("2025-12-01", "2025-12-31", "pro")


@pytest.mark.parametrize(("used_ms", "minutes"), [(300, 0), (900, 0.02), (1_500, 0.02), (2_100, 0.04), (59_999, 1)])
async def test_minutes_have_two_decimals_with_ties_to_even(
    gateway: Running, client: httpx2.AsyncClient, used_ms: int, minutes: float
) -> None:
    gateway.world.usages[gateway.world.workspace_of(client.headers["x-api-key"])] = usage_of(Plan(name="pro"), used_ms=used_ms)
    assert (await client.get(f"{ROOT}/usage")).json()["minutes_used"] == minutes


@pytest.mark.parametrize(("field", "value"), [("language", "EN"), ("language", "xx"), ("language", "en-US"), ("prompt", "a\0b")])
async def test_bad_field_is_400(client: httpx2.AsyncClient, field: str, value: Any) -> None:
    assert field in assert_detail(await submit(client, **{field: value}), 400)


async def test_repeated_field_is_400(client: httpx2.AsyncClient) -> None:
    assert_detail(await submit(client, language=["en", "en"]), 400)


@pytest.mark.parametrize("content", [b"", b"TEXT", b"BROKEN", b"LONG"])
async def test_bad_file_is_400_and_leaves_nothing(gateway: Running, client: httpx2.AsyncClient, content: bytes) -> None:
    assert_detail(await submit(client, content), 400)
    assert gateway.world.media_of(client.headers["x-api-key"]) == []


async def test_missing_file_is_400(client: httpx2.AsyncClient) -> None:
    assert_detail(await client.post(f"{ROOT}/transcribe", data={"language": "en"}), 400)
    assert_detail(await client.post(f"{ROOT}/transcribe", json={"language": "en"}), 400)
    assert_detail(await client.post(f"{ROOT}/transcribe", files={"other": ("a.wav", AUDIO)}), 400)


async def test_too_large_file_is_400_before_its_bytes_arrive(gateway: Running, client: httpx2.AsyncClient) -> None:
    head = f"POST {ROOT}/transcribe HTTP/1.1\r\nHost: x\r\nX-API-Key: {client.headers['x-api-key']}\r\n"
    head += f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {PLAN.max_upload_bytes * 2}\r\n\r\n"
    answer = await gateway.exchange(head.encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"detail"}


@pytest.mark.parametrize("headers", [{}, {"x-api-key": ""}, {"x-api-key": "sk_test_unknown"}])
async def test_missing_or_invalid_key_is_401(gateway: Running, headers: dict[str, str]) -> None:
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers) as stranger:
        for path in ("/jobs", f"/jobs/{UNKNOWN}", "/usage"):
            assert_detail(await stranger.get(ROOT + path), 401)
        assert_detail(await submit(stranger), 401)


async def test_empty_balance_is_402(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.poor.add(gateway.world.workspace_of(client.headers["x-api-key"]))
    assert_detail(await submit(client), 402)


async def test_used_up_uploads_of_the_month_are_402(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.create_failures.append(UploadLimitExceeded())
    assert_detail(await submit(client), 402)


async def test_busy_server_is_500_and_says_when_to_come_back(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.put_status = 503
    try:
        response = await submit(client)
        assert_detail(response, 500)
        assert int(response.headers["retry-after"]) > 0
    finally:
        gateway.world.put_status = 200


async def test_unknown_foreign_and_malformed_job_are_the_same_404(gateway: Running, client: httpx2.AsyncClient) -> None:
    job_id = (await submit(client)).json()["job_id"]
    stranger = {"x-api-key": gateway.world.new_key()}
    foreign = assert_detail(await client.get(f"{ROOT}/jobs/{job_id}", headers=stranger), 404)
    assert assert_detail(await client.get(f"{ROOT}/jobs/{UNKNOWN}"), 404) == foreign
    for text in ("1", "x" * 5000, "{" + UNKNOWN + "}", UNKNOWN.replace("-", ""), "%00"):
        assert assert_detail(await client.get(f"{ROOT}/jobs/{text}"), 404) == foreign


async def test_read_only_key_may_not_submit(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.keys[client.headers["x-api-key"]].scopes.append("read")
    assert_detail(await submit(client), 403)
    assert (await client.get(f"{ROOT}/jobs")).status_code == 200


async def test_rates_are_10_uploads_and_60_others_a_minute_then_429_with_retry_after(tmp_path: Path) -> None:
    async with open_gateway(tmp_path, shared_rates=False) as gateway:
        gateway.world.rates = rates_of("icana")
        async with httpx2.AsyncClient(base_url=gateway.url, headers={"x-api-key": gateway.world.new_key()}, timeout=60) as client:
            uploads = [await submit(client) for _ in range(11)]
            reads = [await client.get(f"{ROOT}/jobs") for _ in range(61)]
    assert [response.status_code for response in uploads] == [200] * 10 + [429]
    assert [response.status_code for response in reads] == [200] * 60 + [429]
    for response in (uploads[-1], reads[-1]):
        assert assert_detail(response, 429) == "Rate limit exceeded. Please retry later."
        assert 1 <= int(response.headers["retry-after"]) <= 60


async def test_fault_behind_the_gateway_is_500_without_its_inside(gateway: Running, client: httpx2.AsyncClient) -> None:
    gateway.world.put_status = 500
    try:
        assert "127.0.0.1" not in assert_detail(await submit(client), 500)
    finally:
        gateway.world.put_status = 200


@pytest.mark.parametrize("path", ["/icana/api/v1/nothing", "/icana/api/v2/jobs", "/icana", "/icana/api/v1/jobs/"])
async def test_unknown_path_is_404_in_this_contracts_shape(client: httpx2.AsyncClient, path: str) -> None:
    assert_detail(await client.get(path), 404)


async def test_wrong_method_is_405_with_allow(client: httpx2.AsyncClient) -> None:
    response = await client.put(f"{ROOT}/jobs")
    assert_detail(response, 405)
    assert "GET" in response.headers["allow"]
