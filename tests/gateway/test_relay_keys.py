"""Relay's account part: API keys with scopes and expiry, at its own prefix and at the native one."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from steno.billing.v1.api_key_pb2 import ApiKey
from tests.gateway.conftest import Running
from tests.gateway.native import assert_error

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = "/relay/api/v1"
BOTH = ["/relay/api/v1", "/api/v1"]
KEYS = {"id", "name", "key_prefix", "scopes", "created_at", "expires_at", "last_used_at"}
UNKNOWN = "35f4be54-aa3e-4adc-85b7-b44f284d1fc3"


async def create(client: httpx2.AsyncClient, root: str = ROOT, **body: Any) -> Any:
    return await client.post(f"{root}/auth/api-keys", json=body)


def assert_detail(response: httpx2.Response, status: int) -> None:
    body = response.json()
    assert (response.status_code, set(body)) == (status, {"detail"}), body
    assert isinstance(body["detail"], str)
    assert body["detail"]


def assert_fields(response: httpx2.Response, place: list[str]) -> None:
    """A 422 that names one place."""
    assert response.status_code == 422, response.text
    (problem,) = response.json()["detail"]
    assert set(problem) == {"loc", "msg", "type"}
    assert problem["loc"] == place
    assert problem["msg"]
    assert problem["type"]


@pytest.mark.parametrize("root", BOTH)
async def test_creation_answers_201_with_the_secret_and_the_asked_scopes_and_expiry(client: httpx2.AsyncClient, root: str) -> None:
    until = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0)
    response = await create(client, root, name="ci", scopes=["read"], expires_at=until.isoformat())
    body = response.json()
    assert response.status_code == 201
    assert set(body) >= {*KEYS, "key"}
    assert re.fullmatch("[0-9a-f-]{36}", body["id"])
    assert body["key"].startswith(body["key_prefix"])
    assert (body["name"], body["scopes"], body["last_used_at"]) == ("ci", ["read"], None)
    assert datetime.fromisoformat(body["expires_at"]) == until
    assert body["created_at"].endswith("Z")


@pytest.mark.parametrize("root", BOTH)
async def test_list_is_a_bare_array_without_secrets(client: httpx2.AsyncClient, root: str) -> None:
    made = (await create(client, root, name="listed")).json()
    rows = (await client.get(f"{root}/auth/api-keys")).json()
    assert isinstance(rows, list)
    (row,) = (row for row in rows if row["id"] == made["id"])
    assert row == {name: value for name, value in made.items() if name != "key"}
    assert made["key"] not in str(rows)


@pytest.mark.parametrize("root", BOTH)
async def test_deletion_answers_204_and_ends_the_key(gateway: Running, client: httpx2.AsyncClient, root: str) -> None:
    made = (await create(client, root, name="short")).json()
    response = await client.delete(f"{root}/auth/api-keys/{made['id']}")
    assert (response.status_code, response.content) == (204, b"")
    assert gateway.world.keys[made["key"]].HasField("revoke_time")
    assert made["id"] not in {row["id"] for row in (await client.get(f"{root}/auth/api-keys")).json()}


async def test_key_works_within_its_scopes_and_is_refused_beyond_with_403(gateway: Running, client: httpx2.AsyncClient) -> None:
    made = (await create(client, name="reader", scopes=["read"])).json()
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"x-api-key": made["key"]}) as reader:
        assert (await reader.get("/api/v1/jobs")).status_code == 200
        assert_detail(await reader.get(f"{ROOT}/auth/api-keys"), 403)
        assert_detail(await create(reader, name="more"), 403)
        assert_detail(await reader.delete(f"{ROOT}/auth/api-keys/{made['id']}"), 403)
        assert_error(await reader.get("/api/v1/auth/api-keys"), 403, "FORBIDDEN")


async def test_guest_of_an_app_key_is_refused_with_403(gateway: Running, client: httpx2.AsyncClient) -> None:
    assert_detail(await client.get(f"{ROOT}/auth/api-keys", headers={"x-api-key": gateway.world.new_key(ApiKey.KIND_APP)}), 403)


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "sk_test_unknown"}])
async def test_missing_or_invalid_key_is_401(gateway: Running, headers: dict[str, str]) -> None:
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers) as stranger:
        assert_detail(await stranger.get(f"{ROOT}/auth/api-keys"), 401)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 5}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"name": "a", "expires_at": 2**63}, "expires_at"),
        ({"name": "a", "expires_at": 4_102_444_800}, "expires_at"),
        ({"name": "a", "expires_at": "4102444800"}, "expires_at"),
        ({"name": "a", "expires_at": "9999-12-31T23:59:59-14:00"}, "expires_at"),
        ({"name": "a", "expires_at": "2099-12-31T23:59:59"}, "expires_at"),
        ({"name": "a", "test": "yes"}, "test"),
        ({"name": "a", "scopes": "read"}, "scopes"),
    ],
)
async def test_invalid_body_is_422_with_a_list_of_places(client: httpx2.AsyncClient, body: dict[str, Any], field: str) -> None:
    for root in BOTH:
        assert_fields(await create(client, root, **body), ["body", field])


async def test_malformed_id_is_422_and_unknown_or_foreign_is_404(gateway: Running, client: httpx2.AsyncClient) -> None:
    assert_fields(await client.delete(f"{ROOT}/auth/api-keys/1"), ["path", "id"])
    foreign = gateway.world.keys[gateway.world.new_key()].id
    for key_id in (UNKNOWN, foreign):
        assert_detail(await client.delete(f"{ROOT}/auth/api-keys/{key_id}"), 404)


async def test_malformed_json_is_400(client: httpx2.AsyncClient) -> None:
    response = await client.post(f"{ROOT}/auth/api-keys", content=b"{", headers={"content-type": "application/json"})
    assert_detail(response, 400)


@pytest.mark.parametrize("path", ["/relay", "/relay/api/v1/nothing", "/relay/api/v2/auth/api-keys"])
async def test_unknown_path_is_404_in_this_contracts_shape(client: httpx2.AsyncClient, path: str) -> None:
    assert_detail(await client.get(path), 404)


async def test_wrong_method_is_405_with_allow(client: httpx2.AsyncClient) -> None:
    response = await client.put(f"{ROOT}/auth/api-keys")
    assert_detail(response, 405)
    assert {"GET", "POST"} <= {method.strip() for method in response.headers["allow"].split(",")}


async def test_native_errors_carry_the_detail_that_relay_clients_read(client: httpx2.AsyncClient) -> None:
    for response in (await client.get("/api/v1/jobs/1"), await client.get("/api/v1/nothing"), await create(client, "/api/v1")):
        assert set(response.json()) >= {"error", "code", "detail"}
