"""Who calls, and their keys, over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from steno.billing.v1.api_key_pb2 import ApiKey
from tests.gateway.conftest import Running
from tests.gateway.native import AUDIO, assert_error

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_me_of_a_workspace_key_and_of_an_app_key(gateway: Running, client: httpx2.AsyncClient) -> None:
    assert (await client.get("/api/v1/me")).json() == {"email": None, "tier": "paid", "retention_days": 365, "signed_in": True}
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
