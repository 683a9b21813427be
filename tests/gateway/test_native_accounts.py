"""Who calls, and their keys, over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from steno.billing.v1.api_key_pb2 import ApiKey
from tests.gateway.conftest import Running
from tests.gateway.native import AUDIO, assert_error

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_me_of_a_workspace_key_is_its_workspace(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/api/v1/me")).json() == {"email": None, "tier": "paid", "retention_days": 365, "signed_in": True}


async def test_me_of_an_app_key_alone_is_a_guest(gateway: Running, client: httpx2.AsyncClient) -> None:
    app_key = {"x-api-key": gateway.world.new_key(ApiKey.KIND_APP)}
    assert (await client.get("/api/v1/me", headers=app_key)).json() == {
        "email": None,
        "tier": "guest",
        "retention_days": 3,
        "signed_in": False,
    }
    submitted = await client.post("/api/v1/transcribe", files={"file": ("a.wav", AUDIO)}, headers=app_key)
    assert submitted.json()["tier"] == 0
    assert gateway.world.jobs[submitted.json()["job_id"]].owner.startswith("guest:")


async def test_me_of_a_user_is_its_address_and_plan(gateway: Running, client: httpx2.AsyncClient) -> None:
    key = gateway.world.new_key(ApiKey.KIND_APP, scopes=["read", "write", "act_as_user"])
    user = {"x-api-key": key, "x-user-email": "You@People.example"}
    body = {"email": "you@people.example", "tier": "free", "retention_days": 30, "signed_in": True}
    assert (await client.get("/api/v1/me", headers=user)).json() == body
    submitted = (await client.post("/api/v1/transcribe", files={"file": ("a.wav", AUDIO)}, headers=user)).json()
    assert (set(submitted), submitted["tier"]) == ({"job_id", "status", "tier"}, 1)
    assert [row["job_id"] for row in (await client.get("/api/v1/jobs", headers=user)).json()] == [submitted["job_id"]]


async def test_name_without_the_right_to_give_it_is_ignored_for_reads_and_403_for_writes(
    gateway: Running, client: httpx2.AsyncClient
) -> None:
    for kind in (ApiKey.KIND_APP, ApiKey.KIND_WORKSPACE):
        named = {"x-api-key": gateway.world.new_key(kind), "x-user-email": "you@people.example"}
        assert (await client.get("/api/v1/me", headers=named)).json()["email"] is None
        refused = await client.post("/api/v1/transcribe", files={"file": ("a.wav", AUDIO)}, headers=named)
        assert_error(refused, 403, "FORBIDDEN")


async def test_buyer_without_an_account_is_known_by_its_guest_token(gateway: Running, client: httpx2.AsyncClient) -> None:
    key = gateway.world.new_key(ApiKey.KIND_APP)
    buyer = {"x-api-key": key, "x-guest-token": gateway.world.new_wallet(key)}
    me = (await client.get("/api/v1/me", headers=buyer)).json()
    assert (me["email"], me["tier"], me["retention_days"], me["signed_in"]) == (None, "paid", 90, False)
    submitted = (await client.post("/api/v1/transcribe", files={"file": ("a.wav", AUDIO)}, headers=buyer)).json()
    assert (await client.get(f"/api/v1/jobs/{submitted['job_id']}", headers=buyer)).status_code == 200


async def test_usage_of_the_month_in_hours_and_cents(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/api/v1/usage")).json() == {
        "plan": "studio",
        "tier": "paid",
        "period_start": 1_798_761_600.0,
        "period_end": 1_801_440_000.0,
        "included_hours": 10.0,
        "used_hours": 11.0,
        "remaining_hours": 0.0,
        "overage_hours": 1.0,
        "overage_cents": 60,
        "uploads": 7,
        "uploads_limit": None,
    }


async def test_api_keys_are_made_listed_and_ended(gateway: Running, client: httpx2.AsyncClient) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    made = await client.post("/api/v1/auth/api-keys", json={"name": "ci", "expires_at": until, "kind": "app", "test": True})
    assert made.status_code == 201
    key = made.json()
    assert set(key) >= {"id", "name", "key_prefix", "key", "scopes", "created_at", "expires_at", "last_used_at", "kind", "test"}
    assert (key["kind"], key["last_used_at"], key["test"]) == ("app", None, True)
    listed = (await client.get("/api/v1/auth/api-keys")).json()
    assert [row for row in listed if row["id"] == key["id"]] == [{name: value for name, value in key.items() if name != "key"}]
    assert (await client.delete(f"/api/v1/auth/api-keys/{key['id']}")).status_code == 204
    foreign = next(iter(gateway.world.keys.values())).id
    assert_error(await client.delete(f"/api/v1/auth/api-keys/{foreign}"), 404, "NOT_FOUND")


async def test_guest_may_not_manage_keys(gateway: Running, client: httpx2.AsyncClient) -> None:
    response = await client.get("/api/v1/auth/api-keys", headers={"x-api-key": gateway.world.new_key(ApiKey.KIND_APP)})
    assert_error(response, 403, "FORBIDDEN")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b'{"name":NaN}',
        b'{"name":1e400000}x',
        b"[" * 100_000,
        b'{"a":' * 5000,
        b'{"name":"\\ud800"}',
        b'{"name":"\xff"}',
        b'{"n":' + b"9" * 5000 + b"}",
        b"\xef\xbb\xbf{}",
        b'{"name":"a"}' + b" " * 300_000,
        '{"name":"a"}'.encode("utf-16"),
    ],
)
async def test_bad_json_is_400(client: httpx2.AsyncClient, body: bytes) -> None:
    response = await client.post("/api/v1/auth/api-keys", content=body, headers={"content-type": "application/json"})
    assert_error(response, 400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": 5},
        {"name": "x" * 101},
        {"name": "a\0"},
        {"name": "a", "kind": "x"},
        {"name": "a", "expires_at": "2001-01-01T00:00:00Z"},
        {"name": "a", "expires_at": 2**63},
    ],
)
async def test_wrong_json_field_is_422(client: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    assert isinstance(assert_error(await client.post("/api/v1/auth/api-keys", json=body), 422, "BAD_FIELD")["detail"], list)
