"""Every kind of key with every combination of identity headers, for reads and for writes: 360 requests, one table of rules."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from services.gateway.domain import Client, Refusal
from services.mesh.identity import CallerKind
from services.mesh.status import RemoteError
from steno.billing.v1.api_key_pb2 import ApiKey
from tests.gateway.identity_bench import Bench, bearer
from tests.oidc import EMAIL

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEYS: dict[str, tuple[Any, tuple[str, ...]]] = {
    "workspace": (ApiKey.KIND_WORKSPACE, ()),
    "app": (ApiKey.KIND_APP, ()),
    "workspace, may name": (ApiKey.KIND_WORKSPACE, ("read", "write", "act_as_user")),
    "app, may name": (ApiKey.KIND_APP, ("read", "write", "act_as_user")),
}
OTHER = "grace@example.com"


@dataclass(frozen=True)
class Case:
    """One request. token, guest: "", good or bad. name: nobody, the token's address, another one, or none at all."""

    key: str
    token: str
    name: str
    guest: str
    method: str

    @property
    def expected(self) -> str:
        """Who it is, or why it is refused: the first rule that fits."""
        writes, may_name, app = self.method == "POST", "may name" in self.key, self.key.startswith("app")
        rules = (
            (not self.key and not self.token, "MISSING_API_KEY"),
            ((app or not self.key) and self.token == "bad", "INVALID_TOKEN"),
            (self.token == "good" and (app or not self.key) and writes and self.name not in ("", EMAIL), "FORBIDDEN"),
            (self.token == "good" and (app or not self.key), EMAIL),
            (may_name and self.name == "no address", "BAD_REQUEST"),
            (may_name and self.name != "", self.name),
            (self.name != "" and writes, "FORBIDDEN"),
            (not app, "workspace"),
            (self.guest == "bad", "INVALID_GUEST_TOKEN"),
            (self.guest == "good", "buyer"),
            (True, "guest"),
        )
        return next(outcome for fits, outcome in rules if fits)


CASES = [
    Case(*parts)
    for parts in product(["", *KEYS], ["", "good", "bad"], ["", EMAIL, OTHER, "no address"], ["", "good", "bad"], ["GET", "POST"])
]


@pytest.mark.parametrize("key", ["", *KEYS])
async def test_who_a_request_acts_for(bench: Bench, key: str) -> None:
    cases = [case for case in CASES if case.key == key]
    assert len(cases) == 72
    assert {case: await outcome(bench, case) for case in cases} == {case: case.expected for case in cases}


async def outcome(bench: Bench, case: Case) -> str:
    headers: dict[str, str] = {}
    if case.key:
        kind, scopes = KEYS[case.key]
        headers["X-API-Key"] = bench.key(kind, *scopes)
    if case.token:
        headers |= bearer(bench.users.mint() if not case.key else bench.open.mint()) if case.token == "good" else bearer("a.b.c")
    if case.name:
        headers["X-User-Email"] = case.name
    if case.guest:
        headers["X-Guest-Token"] = bench.world.new_wallet(headers["X-API-Key"]) if case.guest == "good" and case.key else "unknown"
    try:
        return who(await bench.ask(headers, case.method))
    except Refusal as error:
        return error.reason
    except RemoteError as error:
        return error.reason_name


def who(client: Client) -> str:
    if client.caller.kind is CallerKind.GUEST:
        return "buyer" if client.caller.wallet_id else "guest"
    return client.email or client.caller.owner
