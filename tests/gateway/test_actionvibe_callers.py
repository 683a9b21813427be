"""ActionVibe: whose transcriptions they are, by token, by JWT and for guests of an app key."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from services.mesh.ids import new_id
from steno.billing.v1.api_key_pb2 import ApiKey
from tests.gateway.actionvibe import assert_code, upload
from tests.gateway.conftest import Running, open_gateway
from tests.oidc import OidcIssuer, oidc_issuer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Signed:
    """A gateway that trusts two issuers: one of users and one of members of the workspace `home`."""

    gateway: Running
    users: OidcIssuer
    members: OidcIssuer
    home: str

    def client(self, **headers: str) -> httpx2.AsyncClient:
        """A client that sends these headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.AsyncClient(base_url=self.gateway.url, headers=named, timeout=60)


def issuer_table(issuer: OidcIssuer) -> str:
    return f'[[issuer]]\nissuer = "{issuer.url}"\naudiences = ["steno"]\nallow_plain_http = true\n'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def signed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Signed]:
    folder, home = tmp_path_factory.mktemp("signed"), new_id()
    async with oidc_issuer("ES256") as users, oidc_issuer("ES256") as members:
        trusted = ((users, "user"), (members, "member"))
        tables = [f'{issuer_table(issuer)}workspace_id = "{home}"\nrole = "{role}"\n' for issuer, role in trusted]
        (folder / "issuers.toml").write_text("\n".join(tables))
        changes = {"oidc_issuers_file": folder / "issuers.toml", "egress_allowed_networks": "127.0.0.0/8, ::1/128"}
        async with open_gateway(folder, **changes) as gateway:
            yield Signed(gateway, users, members, home)


async def test_jwt_of_a_user_shows_its_own_transcriptions_only(signed: Signed) -> None:
    ada, bob = (signed.users.mint(email=f"{name}@example.com", sub=name) for name in ("ada", "bob"))
    async with signed.client(authorization=f"Bearer {ada}") as client, signed.client(authorization=f"Bearer {bob}") as other:
        transcription_id = (await upload(client)).json()["transcription_id"]
        assert (await client.get(f"/api/transcription/{transcription_id}")).status_code == 200
        assert_code(await other.get(f"/api/transcription/{transcription_id}"), 404, "NOT_FOUND")
        assert_code(await client.post("/api/tokens", json={"action": "list"}), 403, "FORBIDDEN")


async def test_jwt_of_a_member_acts_as_the_workspace_and_manages_its_tokens(signed: Signed) -> None:
    async with signed.client(authorization=f"Bearer {signed.members.mint()}") as member:
        made = (await member.post("/api/tokens", json={"action": "generate", "name": "from a session"})).json()
        assert made["workspace"]["id"] == signed.home
        transcription_id = (await upload(member)).json()["transcription_id"]
    async with signed.client(authorization=f"Bearer {made['token']}") as token:
        assert (await token.get(f"/api/transcription/{transcription_id}")).status_code == 200


async def test_jwt_that_is_not_valid_is_401_unauthorized(signed: Signed) -> None:
    for jwt in (signed.users.mint(exp=1), signed.users.mint(aud="other"), "a.b.c"):
        async with signed.client(authorization=f"Bearer {jwt}") as client:
            assert_code(await client.get("/api/transcriptions"), 401, "UNAUTHORIZED")


async def test_guest_of_an_app_key_proves_its_transcription_by_its_claim_token(signed: Signed) -> None:
    async with signed.client(x_api_key=signed.gateway.world.new_key(ApiKey.KIND_APP)) as guest:
        body = (await upload(guest)).json()
        address = f"/api/transcription/{body['transcription_id']}"
        assert_code(await guest.get(address), 401, "UNAUTHORIZED")
        assert (await guest.get(address, headers={"x-claim-token": body["claim_token"]})).status_code == 200


async def test_guest_of_an_app_key_proves_its_icana_job_by_its_claim_token(signed: Signed) -> None:
    async with signed.client(x_api_key=signed.gateway.world.new_key(ApiKey.KIND_APP)) as guest:
        body = (await guest.post("/icana/api/v1/transcribe", files={"file": ("a.mp3", b"RIFF" * 50)})).json()
        address = f"/icana/api/v1/jobs/{body['job_id']}"
        refused = await guest.get(address)
        assert (refused.status_code, set(refused.json())) == (401, {"detail"})
        assert (await guest.get(address, headers={"x-claim-token": body["claim_token"]})).status_code == 200


async def test_host_name_stands_for_the_contract(tmp_path: Path) -> None:
    hosts = "icana.example.com=icana,vibe.example.com=actionvibe,relay.example.com=relay"
    async with open_gateway(tmp_path, contract_hosts=hosts) as gateway:
        async with httpx2.AsyncClient(base_url=gateway.url, headers={"x-api-key": gateway.world.new_key()}, timeout=60) as client:
            icana = await client.get("/api/v1/jobs", headers={"host": "icana.example.com"})
            vibe = await client.get("/api/transcriptions-list", headers={"host": "vibe.example.com"})
            relay = await client.get("/api/v1/nothing", headers={"host": "relay.example.com"})
    assert set(icana.json()) == {"items", "total", "page", "page_size", "has_more"}
    assert set(vibe.json()) == {"transcriptions", "pagination"}
    assert set(relay.json()) == {"detail"}
