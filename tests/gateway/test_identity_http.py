"""Who is who, as clients of the running gateway see it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from faults.corpora.identities import FORGED, Sources
from steno.billing.v1.api_key_pb2 import ApiKey
from tests.gateway.conftest import Running, open_gateway
from tests.gateway.identity_bench import logging_to
from tests.gateway.native import assert_error, submit
from tests.oidc import EMAIL, Health, OidcIssuer, oidc_issuer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Signing:
    """A gateway that trusts an issuer, and an app key of it."""

    gateway: Running
    issuer: OidcIssuer
    stranger: OidcIssuer
    secret: str
    client: httpx2.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def signing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Signing]:
    """Users of `issuer` may sign in to every workspace."""
    folder: Path = tmp_path_factory.mktemp("signing")
    async with oidc_issuer() as issuer, oidc_issuer() as stranger:
        table = f'[[issuer]]\nissuer = "{issuer.url}"\naudiences = ["steno"]\nallow_plain_http = true\n'
        (folder / "issuers.toml").write_text(table)
        settings = {"oidc_issuers_file": folder / "issuers.toml", "egress_allowed_networks": "127.0.0.0/8"}
        async with open_gateway(folder, **settings) as gateway:
            secret = gateway.world.new_key(ApiKey.KIND_APP)
            async with httpx2.AsyncClient(base_url=gateway.url, headers={"x-api-key": secret}, timeout=60, verify=False) as client:
                yield Signing(gateway, issuer, stranger, secret, client)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_me_says_whom_the_server_sees(signing: Signing) -> None:
    me = await signing.client.get("/api/v1/me", headers=bearer(signing.issuer.mint()))
    assert me.json() == {"email": EMAIL, "tier": "free", "retention_days": 30, "signed_in": True}
    wallet = signing.gateway.world.new_wallet(signing.secret)
    me = await signing.client.get("/api/v1/me", headers={"x-guest-token": wallet})
    assert me.json() == {"email": None, "tier": "paid", "retention_days": 90, "signed_in": False}
    me = await signing.client.get("/api/v1/me")
    assert me.json() == {"email": None, "tier": "guest", "retention_days": 3, "signed_in": False}


async def test_every_refused_token_is_answered_alike(signing: Signing) -> None:
    sources = Sources(signing.issuer, signing.stranger, "https://by-secret.example.com", b"a secret that no issuer here is known by")
    answers = set()
    for name, forge in FORGED.items():
        token = forge(sources)
        if not 0 < len(token) <= 16_000:
            continue
        response = await signing.client.get("/api/v1/me", headers=bearer(token))
        assert_error(response, 401, "INVALID_TOKEN")
        answers.add(response.text)
        assert token not in response.text, name
    assert len(answers) == 1


async def test_jobs_of_a_user_follow_the_user(signing: Signing) -> None:
    job_id = (await submit(signing.client, headers=bearer(signing.issuer.mint(email="jobs@example.com")))).json()["job_id"]
    user = signing.gateway.world.users[signing.gateway.world.workspace_of(signing.secret), "jobs@example.com"]
    assert signing.gateway.world.jobs[job_id].owner == f"user:{user.id}"
    other = await signing.client.get(f"/api/v1/jobs/{job_id}", headers=bearer(signing.issuer.mint(email="other@example.com")))
    assert_error(other, 404, "NOT_FOUND")


async def test_user_may_not_manage_keys(signing: Signing) -> None:
    token = bearer(signing.issuer.mint())
    assert_error(await signing.client.get("/api/v1/auth/api-keys", headers=token), 403, "FORBIDDEN")
    assert_error(await signing.client.post("/api/v1/auth/api-keys", headers=token, json={"name": "x"}), 403, "FORBIDDEN")


async def test_name_without_the_right_to_it_may_not_write(signing: Signing) -> None:
    named = {"x-user-email": EMAIL}
    assert (await signing.client.get("/api/v1/me", headers=named)).json()["email"] is None
    assert_error(await submit(signing.client, headers=named), 403, "FORBIDDEN")


async def test_refused_token_is_told_before_the_body_is_read(signing: Signing) -> None:
    head = (
        f"POST /api/v1/transcribe HTTP/1.1\r\nHost: x\r\nX-API-Key: {signing.secret}\r\nAuthorization: Bearer a.b.c\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000000\r\n\r\n"
    )
    answer = await signing.gateway.exchange(head.encode())
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"INVALID_TOKEN" in answer


async def test_users_stay_signed_in_while_the_issuer_is_away(signing: Signing) -> None:
    signing.issuer.health = Health.DOWN
    try:
        me = await signing.client.get("/api/v1/me", headers=bearer(signing.issuer.mint()))
    finally:
        signing.issuer.health = Health.UP
    assert me.json()["email"] == EMAIL


async def test_requests_leave_no_secret_in_the_log(signing: Signing) -> None:
    log = StringIO()
    good, bad = signing.issuer.mint(), signing.issuer.mint(sub="")
    with logging_to(log):
        await submit(signing.client, headers={**bearer(good), "x-claim-token": "claim-canary"})
        await signing.client.get("/api/v1/me", headers=bearer(bad))
        await signing.client.get("/api/v1/me", headers={"x-guest-token": "guest-canary"})
        await signing.client.get("/api/v1/me", headers={"x-api-key": "sk_test_canary"})
    told = log.getvalue()
    assert "token refused" in told
    for hidden in (signing.secret, "canary", EMAIL, *good.split("."), *bad.split(".")):
        assert hidden not in told
