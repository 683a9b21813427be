"""What the tests of identity ask: an identity over real peers and issuers, and the headers they send."""

import hashlib
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import structlog

from services.gateway.domain import Client, Refusal
from services.gateway.identity.opening import open_identity
from services.gateway.identity.resolution import Identity
from services.gateway.peers import open_peers
from services.gateway.settings import GatewaySettings
from services.mesh.api_keys import ApiKeys
from services.mesh.identity import TokenSigner, load_key, write_new_key
from services.mesh.ids import new_id
from services.mesh.status import RemoteError
from services.mesh.telemetry import configure_logging
from steno.billing.v1.api_key_pb2 import ApiKey
from tests.gateway.peers.serving import open_world
from tests.gateway.peers.world import World
from tests.oidc import OidcIssuer, oidc_issuer

CLAIM = "claim-token_1"
APP, WORKSPACE = ApiKey.KIND_APP, ApiKey.KIND_WORKSPACE
Headers = dict[str, str]


@dataclass
class Bench:
    """An identity over real peers and real issuers."""

    identity: Identity
    world: World
    open: OidcIssuer
    users: OidcIssuer
    members: OidcIssuer
    bound: OidcIssuer
    home: str
    settings: GatewaySettings
    keys: ApiKeys

    async def ask(self, headers: Headers, method: str = "GET") -> Client:
        return await self.identity.resolve(method, raw(headers))

    async def refused(self, headers: Headers, method: str = "GET") -> str:
        """The reason of the refusal, whoever gives it."""
        with pytest.raises((Refusal, RemoteError)) as error:
            await self.ask(headers, method)
        return error.value.reason if isinstance(error.value, Refusal) else str(getattr(error.value, "reason_name", ""))

    def key(self, kind: Any, *scopes: str, home: bool = False) -> str:
        """A secret of a new key; in a workspace of its own, or the one that issuers stand for."""
        secret = self.world.new_key(kind, self.home if home else "")
        self.world.keys[secret].scopes.extend(scopes)
        return secret


def raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def open_bench(folder: Path) -> AsyncIterator[Bench]:
    """Four issuers: one for every workspace, one with users and one with members of `home`, one bound to home's keys."""
    write_new_key(folder / "identity.pem")
    key, home = load_key(folder / "identity.pem"), new_id()
    async with oidc_issuer("ES256") as open_, oidc_issuer("ES256") as users, oidc_issuer("ES256") as members, oidc_issuer("ES256") as bound:
        tables = [
            issuer_table(open_, ""),
            issuer_table(users, f'workspace_id = "{home}"\nrole = "user"'),
            issuer_table(members, f'workspace_id = "{home}"\nrole = "member"'),
            issuer_table(bound, f'workspace_id = "{home}"'),
        ]
        (folder / "issuers.toml").write_text("\n".join(tables))
        async with open_world(key) as (world, addresses):
            settings = GatewaySettings(
                identity_key_file=folder / "identity.pem",
                oidc_issuers_file=folder / "issuers.toml",
                egress_allowed_networks="127.0.0.0/8, ::1/128",
                **{f"{name}_address": address for name, address in vars(addresses).items()},
            )
            async with open_peers(settings, TokenSigner(key, "gateway")) as peers:
                keys = ApiKeys(peers.accounts)
                async with open_identity(settings, keys, peers.accounts) as identity:
                    yield Bench(identity, world, open_, users, members, bound, home, settings, keys)


def issuer_table(issuer: OidcIssuer, rest: str) -> str:
    return f'[[issuer]]\nissuer = "{issuer.url}"\naudiences = ["steno"]\nallow_plain_http = true\n{rest}\n'


def digest_of(claim: str) -> str:
    return hashlib.sha256(claim.encode()).hexdigest()


@contextmanager
def logging_to(log: StringIO) -> Iterator[None]:
    """Within, Steno's log and that of its libraries go there."""
    root = logging.getLogger()
    before, handlers, level = structlog.get_config(), root.handlers[:], root.level
    configure_logging("gateway", "debug", "json", log)
    try:
        yield
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)
