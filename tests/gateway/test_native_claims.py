"""Guests' jobs: proven by their claim token, claimed by users."""

from typing import Any

import httpx2
import pytest

from steno.billing.v1.api_key_pb2 import ApiKey
from tests.gateway.conftest import Running
from tests.gateway.native import AUDIO, TRANSCRIPT, assert_error

pytestmark = pytest.mark.asyncio(loop_scope="session")
CLAIM = "/api/v1/jobs/claim"
OF_A_JOB = ("", "/result", "/transcript", "/events", "/audio/url")


class App:
    """A calling application: its guests, and a user of it."""

    def __init__(self, gateway: Running) -> None:
        key = gateway.world.new_key(ApiKey.KIND_APP, scopes=["read", "write", "act_as_user"])
        self.guest = {"x-api-key": key}
        self.user = {"x-api-key": key, "x-user-email": "you@people.example"}

    async def submit(self, client: httpx2.AsyncClient) -> dict[str, Any]:
        response = await client.post("/api/v1/transcribe", files={"file": ("a.wav", AUDIO)}, headers=self.guest)
        assert response.status_code == 202
        answer: dict[str, Any] = response.json()
        return answer


@pytest.fixture
def app(gateway: Running) -> App:
    """A fresh application."""
    return App(gateway)


async def test_job_of_a_guest_needs_its_claim_token(gateway: Running, client: httpx2.AsyncClient, app: App) -> None:
    job = await app.submit(client)
    await gateway.world.finish(job["job_id"], TRANSCRIPT)
    for path in OF_A_JOB:
        url = f"/api/v1/jobs/{job['job_id']}{path}"
        assert_error(await client.get(url, headers=app.guest), 401, "AUTHENTICATION_REQUIRED")
        assert_error(await client.get(url, headers={**app.guest, "x-claim-token": "0" * 64}), 404, "NOT_FOUND")
        assert (await client.get(url, headers={**app.guest, "x-claim-token": job["claim_token"]})).status_code == 200


async def test_guest_sees_and_deletes_what_its_token_proves_and_nothing_else(client: httpx2.AsyncClient, app: App) -> None:
    mine, other = await app.submit(client), await app.submit(client)
    proof = {**app.guest, "x-claim-token": mine["claim_token"]}
    assert [row["job_id"] for row in (await client.get("/api/v1/jobs", headers=proof)).json()] == [mine["job_id"]]
    assert (await client.get("/api/v1/jobs", headers=app.guest)).json() == []
    assert_error(await client.delete(f"/api/v1/jobs/{other['job_id']}", headers=proof), 404, "NOT_FOUND")
    assert (await client.delete(f"/api/v1/jobs/{mine['job_id']}", headers=proof)).status_code == 204


async def test_job_of_another_tenant_does_not_even_exist(gateway: Running, client: httpx2.AsyncClient, app: App) -> None:
    job = await app.submit(client)
    for headers in (App(gateway).guest, App(gateway).user, {}, {**App(gateway).guest, "x-claim-token": job["claim_token"]}):
        foreign = await client.get(f"/api/v1/jobs/{job['job_id']}", headers=headers)
        unknown = await client.get("/api/v1/jobs/35f4be54-aa3e-4adc-85b7-b44f284d1fc3", headers=headers)
        assert_error(foreign, 404, "NOT_FOUND")
        assert foreign.json() == unknown.json()


async def test_user_claims_jobs_once(client: httpx2.AsyncClient, app: App) -> None:
    jobs = [await app.submit(client) for _ in range(2)]
    tokens = [job["claim_token"] for job in jobs]
    assert_error(await client.get(f"/api/v1/jobs/{jobs[0]['job_id']}", headers=app.user), 404, "NOT_FOUND")
    claimed = await client.post(CLAIM, json={"claim_tokens": [*tokens, tokens[0], "unknown", ""]}, headers=app.user)
    assert (claimed.status_code, claimed.json()) == (200, {"claimed": 2})
    assert (await client.post(CLAIM, json={"claim_tokens": tokens}, headers=app.user)).json() == {"claimed": 0}
    listed = (await client.get("/api/v1/jobs", headers=app.user)).json()
    assert {row["job_id"] for row in listed} == {job["job_id"] for job in jobs}
    url = f"/api/v1/jobs/{jobs[0]['job_id']}"
    assert_error(await client.get(url, headers={**app.guest, "x-claim-token": tokens[0]}), 404, "NOT_FOUND")
    assert_error(await client.get(url, headers=app.guest), 401, "AUTHENTICATION_REQUIRED")


async def test_claiming_nothing_claims_nothing(client: httpx2.AsyncClient, app: App) -> None:
    assert (await client.post(CLAIM, json={"claim_tokens": []}, headers=app.user)).json() == {"claimed": 0}


@pytest.mark.parametrize("tokens", [[], ["0" * 64]])
async def test_only_users_claim(client: httpx2.AsyncClient, app: App, tokens: list[str]) -> None:
    for headers in (app.guest, {}):
        assert_error(await client.post(CLAIM, json={"claim_tokens": tokens}, headers=headers), 401, "AUTHENTICATION_REQUIRED")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"claim_tokens": ["a"] * 101}, 400, "BAD_REQUEST"),
        ({"claim_tokens": "a"}, 422, "BAD_FIELD"),
        ({"claim_tokens": [1]}, 422, "BAD_FIELD"),
        ({"claim_tokens": [["a"]]}, 422, "BAD_FIELD"),
        ({"claim_tokens": None}, 422, "BAD_FIELD"),
        ({}, 422, "BAD_FIELD"),
        ([], 400, "BAD_REQUEST"),
    ],
)
async def test_malformed_claim_is_refused(client: httpx2.AsyncClient, app: App, body: object, status: int, code: str) -> None:
    assert_error(await client.post(CLAIM, json=body, headers=app.user), status, code)
