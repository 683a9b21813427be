"""ActionVibe: API tokens through a gateway."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from steno.billing.v1.api_key_pb2 import ApiKey
from tests.gateway.actionvibe import SPELLINGS, UNKNOWN, assert_code
from tests.gateway.conftest import Running
from tests.gateway.native import assert_error

pytestmark = pytest.mark.asyncio(loop_scope="session")

ALL = {"read": True, "write": True, "admin": True}
SECOND = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


async def call(client: httpx2.AsyncClient, start: str = "/api/", **body: Any) -> Any:
    return await client.post(f"{start}tokens", json=body)


@pytest.mark.parametrize("start", SPELLINGS)
async def test_generate_answers_every_field_and_the_secret_once(gateway: Running, client: httpx2.AsyncClient, start: str) -> None:
    workspace_id = gateway.world.workspace_of(client.headers["x-api-key"])
    permissions = {"read": True, "write": True, "admin": False}
    asked = {"name": "Production API", "workspaceId": workspace_id, "permissions": permissions, "expiresInDays": 365}
    response = await call(client, start, action="generate", **asked)
    body = response.json()
    assert response.status_code == 200
    assert set(body) == {"token", "tokenId", "name", "workspace", "permissions", "expiresAt", "createdAt"}
    assert body["workspace"] == {"id": workspace_id, "name": "Studio", "type": "team"}
    assert (body["name"], body["permissions"]) == ("Production API", permissions)
    assert SECOND.fullmatch(body["createdAt"])
    left = datetime.fromisoformat(body["expiresAt"]) - datetime.now(UTC)
    assert timedelta(days=364, hours=23) < left <= timedelta(days=365)
    key = gateway.world.keys[body["token"]]
    assert (key.id, key.kind, list(key.scopes)) == (body["tokenId"], ApiKey.KIND_WORKSPACE, ["read", "write"])
    assert body["token"] not in (await call(client, start, action="list")).text


async def test_generated_token_works_within_its_permissions(gateway: Running, client: httpx2.AsyncClient) -> None:
    made = (await call(client, action="generate", name="reader", permissions={"read": True, "write": False})).json()
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"authorization": f"Bearer {made['token']}"}) as reader:
        assert (await reader.get("/api/usage")).status_code == 200
        assert_code(await reader.post("/api/transcriptions", files={"file": ("a.wav", b"RIFF")}), 403, "FORBIDDEN")
        assert_code(await call(reader, action="list"), 403, "FORBIDDEN")


async def test_token_reads_and_writes_for_ever_unless_told_otherwise(client: httpx2.AsyncClient) -> None:
    body = (await call(client, action="generate", name="plain")).json()
    assert (body["permissions"], body["expiresAt"]) == ({"read": True, "write": True, "admin": False}, None)


async def test_list_has_every_field_of_every_token(gateway: Running, client: httpx2.AsyncClient) -> None:
    workspace_id = gateway.world.workspace_of(client.headers["x-api-key"])
    made = (await call(client, action="generate", name="ci", permissions=ALL, expiresInDays=1)).json()
    gateway.world.keys[made["token"]].last_use_time.FromJsonString("2025-01-18T14:30:00Z")
    tokens = {row["id"]: row for row in (await call(client, action="list")).json()["tokens"]}
    assert len(tokens) == 2
    assert tokens[made["tokenId"]] == {
        "id": made["tokenId"],
        "name": "ci",
        "permissions": ALL,
        "workspace": {"id": workspace_id, "name": "Studio"},
        "is_active": True,
        "created_at": made["createdAt"],
        "last_used_at": "2025-01-18T14:30:00Z",
        "expires_at": made["expiresAt"],
    }
    own = gateway.world.keys[client.headers["x-api-key"]].id
    assert (tokens[own]["permissions"], tokens[own]["last_used_at"], tokens[own]["expires_at"]) == (ALL, None, None)


async def test_expired_token_is_listed_as_not_active(gateway: Running, client: httpx2.AsyncClient) -> None:
    made = (await call(client, action="generate", name="old", expiresInDays=1)).json()
    gateway.world.keys[made["token"]].expire_time.FromJsonString("2025-01-18T14:30:00Z")
    tokens = {row["id"]: row for row in (await call(client, action="list")).json()["tokens"]}
    assert tokens[made["tokenId"]]["is_active"] is False


async def test_revoked_token_is_gone(gateway: Running, client: httpx2.AsyncClient) -> None:
    made = (await call(client, action="generate", name="gone")).json()
    response = await call(client, action="revoke", tokenId=made["tokenId"].upper())
    assert (response.status_code, set(response.json())) == (200, {"message"})
    assert gateway.world.keys[made["token"]].HasField("revoke_time")
    assert made["tokenId"] not in {row["id"] for row in (await call(client, action="list")).json()["tokens"]}


async def test_unknown_foreign_and_malformed_token_are_the_same_404(gateway: Running, client: httpx2.AsyncClient) -> None:
    foreign = gateway.world.keys[gateway.world.new_key()].id
    sentences = {assert_code(await call(client, action="revoke", tokenId=text), 404, "NOT_FOUND") for text in (foreign, UNKNOWN, "1", "")}
    assert len(sentences) == 1


@pytest.mark.parametrize("workspace_id", [UNKNOWN, "workspace-uuid", ""])
async def test_token_of_another_workspace_is_forbidden(client: httpx2.AsyncClient, workspace_id: str) -> None:
    assert_code(await call(client, action="generate", name="a", workspaceId=workspace_id), 403, "FORBIDDEN")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "destroy"},
        {"action": 1},
        {"action": "generate"},
        {"action": "generate", "name": ""},
        {"action": "generate", "name": "x" * 101},
        {"action": "generate", "name": "a\0"},
        {"action": "generate", "name": "a", "permissions": {"read": "yes"}},
        {"action": "generate", "name": "a", "permissions": {"read": False, "write": False, "admin": False}},
        {"action": "generate", "name": "a", "expiresInDays": 0},
        {"action": "generate", "name": "a", "expiresInDays": 3651},
        {"action": "generate", "name": "a", "expiresInDays": True},
        {"action": "generate", "name": "a", "expiresInDays": "365"},
        {"action": "revoke"},
        {"action": "revoke", "tokenId": 5},
    ],
)
async def test_malformed_call_is_400_invalid_request(client: httpx2.AsyncClient, body: dict[str, Any]) -> None:
    assert_code(await call(client, **body), 400, "INVALID_REQUEST")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"action":NaN}', b'{"a":' * 5000, b'{"action":"\\ud800"}', b'{"action":"list"}x'])
async def test_bad_json_is_400_invalid_request(client: httpx2.AsyncClient, body: bytes) -> None:
    assert_code(await client.post("/api/tokens", content=body, headers={"content-type": "application/json"}), 400, "INVALID_REQUEST")


async def test_guest_may_not_manage_tokens(gateway: Running, client: httpx2.AsyncClient) -> None:
    guest = {"x-api-key": gateway.world.new_key(ApiKey.KIND_APP)}
    assert_code(await client.post("/api/tokens", json={"action": "list"}, headers=guest), 403, "FORBIDDEN")


async def test_tokens_are_the_native_contracts_keys(gateway: Running, client: httpx2.AsyncClient) -> None:
    made = (await call(client, action="generate", name="shared")).json()
    assert made["tokenId"] in {row["id"] for row in (await client.get("/api/v1/auth/api-keys")).json()}
    assert (await client.delete(f"/api/v1/auth/api-keys/{made['tokenId']}")).status_code == 204
    assert_error(await client.get("/api/v1/me", headers={"x-api-key": made["token"]}), 401, "INVALID_API_KEY")
