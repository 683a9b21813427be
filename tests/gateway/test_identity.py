"""Who is who: every kind of key, with every header, for reads and for writes."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog

from services.gateway.domain import Client, Reason, Refusal
from services.gateway.identity.opening import open_identity
from services.gateway.identity.resolution import Identity
from services.gateway.peers import open_peers
from services.gateway.revocations import Revocations
from services.gateway.settings import GatewaySettings
from services.mesh.api_keys import ApiKeys
from services.mesh.bus import open_bus
from services.mesh.identity import Caller, CallerKind, TokenSigner, load_key, write_new_key
from services.mesh.ids import new_id
from services.mesh.status import RemoteError
from services.mesh.streams import event_subject
from services.mesh.telemetry import configure_logging
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.billing_events_pb2 import KeyRevoked
from tests.gateway.peers.serving import open_world
from tests.gateway.peers.world import World
from tests.oidc import EMAIL, OidcIssuer, oidc_issuer
from tests.servers import nats_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
CLAIM = "claim-token_1"
APP, WORKSPACE = ApiKey.KIND_APP, ApiKey.KIND_WORKSPACE
READS, WRITES = ("GET", "HEAD"), ("POST", "DELETE", "PUT", "PATCH")
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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """Four issuers: one for every workspace, one with users and one with members of `home`, one bound to home's keys."""
    folder = tmp_path_factory.mktemp("identity")
    write_new_key(folder / "identity.pem")
    key, home = load_key(folder / "identity.pem"), new_id()
    async with oidc_issuer("ES256") as open_, oidc_issuer("ES256") as users, oidc_issuer("ES256") as members, oidc_issuer("ES256") as bound:
        tables = [
            table(open_, ""),
            table(users, f'workspace_id = "{home}"\nrole = "user"'),
            table(members, f'workspace_id = "{home}"\nrole = "member"'),
            table(bound, f'workspace_id = "{home}"'),
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


def table(issuer: OidcIssuer, rest: str) -> str:
    return f'[[issuer]]\nissuer = "{issuer.url}"\naudiences = ["steno"]\nallow_plain_http = true\n{rest}\n'


def digest_of(claim: str) -> str:
    return hashlib.sha256(claim.encode()).hexdigest()


@pytest.mark.parametrize("method", READS + WRITES)
async def test_workspace_key_is_itself_the_identity(bench: Bench, method: str) -> None:
    secret = bench.key(WORKSPACE)
    key = bench.world.keys[secret]
    everything = {"X-Guest-Token": "x", "X-Claim-Token": CLAIM, **bearer(bench.open.mint(exp=1))}
    for headers in ({"X-API-Key": secret}, {"X-API-Key": secret, **everything}):
        client = await bench.ask(headers, method)
        assert client.caller == Caller(CallerKind.KEY, "gateway", key.workspace_id, "workspace", key.id)
        assert (client.tier, client.tier_level, client.retention_days) == ("paid", 2, 365)
        assert (client.email, client.signed_in, client.guest, client.manages_workspace) == (None, True, False, True)


@pytest.mark.parametrize("method", READS + WRITES)
async def test_app_key_alone_is_a_guest_for_whom_the_workspace_pays(bench: Bench, method: str) -> None:
    secret = bench.key(APP)
    key = bench.world.keys[secret]
    client = await bench.ask({"X-API-Key": secret, "X-Claim-Token": CLAIM}, method)
    expected = Caller(CallerKind.GUEST, "gateway", key.workspace_id, f"guest:{key.id}", key.id, ("read", "write"), "", digest_of(CLAIM))
    assert client.caller == expected
    assert client.caller.payer_id == key.workspace_id
    assert (client.tier, client.tier_level, client.retention_days) == ("guest", 0, 3)
    assert (client.email, client.signed_in, client.guest, client.manages_workspace) == (None, False, True, False)


@pytest.mark.parametrize("method", READS + WRITES)
async def test_token_beside_an_app_key_is_a_user_with_a_wallet(bench: Bench, method: str) -> None:
    secret = bench.key(APP)
    key = bench.world.keys[secret]
    client = await bench.ask({"X-API-Key": secret, "X-Claim-Token": CLAIM, **bearer(bench.open.mint(email="Ada@Example.com"))}, method)
    user = bench.world.users[key.workspace_id, EMAIL]
    expected = Caller(CallerKind.USER, "gateway", key.workspace_id, f"user:{user.id}", key.id, ("read", "write"), user.id, digest_of(CLAIM))
    assert client.caller == expected
    assert (client.email, client.tier, client.retention_days, client.signed_in) == (EMAIL, "free", 30, True)
    assert not client.manages_workspace


async def test_one_person_is_another_user_in_another_workspace(bench: Bench) -> None:
    token = bearer(bench.open.mint())
    first = await bench.ask({"X-API-Key": bench.key(APP), **token})
    second = await bench.ask({"X-API-Key": bench.key(APP), **token})
    assert first.caller.owner != second.caller.owner


@pytest.mark.parametrize("method", READS + WRITES)
@pytest.mark.parametrize(
    "authorization",
    ["Bearer undefined", "Bearer ", "Bearer", "bearer null", "BEARER a.b.c", "eyJhbGciOiJub25lIn0.e30.", "Bearer a, b"],
)
async def test_bad_token_beside_an_app_key_is_never_a_guest(bench: Bench, method: str, authorization: str) -> None:
    headers = {"X-API-Key": bench.key(APP), "Authorization": authorization}
    assert await bench.refused(headers, method) == Reason.INVALID_TOKEN


async def test_bad_token_is_refused_though_another_proof_is_good(bench: Bench) -> None:
    secret = bench.key(APP, "read", "write", "act_as_user")
    bad = bearer(bench.open.mint(exp=1))
    assert await bench.refused({"X-API-Key": secret, "X-Guest-Token": bench.world.new_wallet(secret), **bad}) == "INVALID_TOKEN"
    assert await bench.refused({"X-API-Key": secret, "X-User-Email": EMAIL, **bad}) == "INVALID_TOKEN"


async def test_other_schemes_are_somebody_elses(bench: Bench) -> None:
    for scheme in ("Basic dXNlcjpwYXNz", 'Digest username="a"', ""):
        assert (await bench.ask({"X-API-Key": bench.key(APP), "Authorization": scheme})).guest


@pytest.mark.parametrize("method", READS + WRITES)
async def test_guest_token_is_a_guest_with_a_wallet(bench: Bench, method: str) -> None:
    secret = bench.key(APP)
    key, token = bench.world.keys[secret], bench.world.new_wallet(secret)
    wallet_id = bench.world.wallets[key.workspace_id, token]
    client = await bench.ask({"X-API-Key": secret, "X-Guest-Token": token}, method)
    assert client.caller == Caller(
        CallerKind.GUEST, "gateway", key.workspace_id, f"guest:{wallet_id}", key.id, ("read", "write"), wallet_id
    )
    assert (client.email, client.tier, client.retention_days, client.signed_in) == (None, "paid", 90, False)


@pytest.mark.parametrize("token", ["unknown", "x" * 300, "two words", "\xff", "a, b"])
async def test_unknown_guest_token_is_refused(bench: Bench, token: str) -> None:
    assert await bench.refused({"X-API-Key": bench.key(APP), "X-Guest-Token": token}) == "INVALID_GUEST_TOKEN"


async def test_guest_token_of_another_workspace_is_unknown(bench: Bench) -> None:
    foreign = bench.world.new_wallet(bench.key(APP))
    assert await bench.refused({"X-API-Key": bench.key(APP), "X-Guest-Token": foreign}) == "INVALID_GUEST_TOKEN"


async def test_token_outranks_a_guest_token(bench: Bench) -> None:
    secret = bench.key(APP)
    headers = {"X-API-Key": secret, "X-Guest-Token": bench.world.new_wallet(secret), **bearer(bench.open.mint())}
    assert (await bench.ask(headers)).email == EMAIL


@pytest.mark.parametrize("kind", [APP, WORKSPACE])
@pytest.mark.parametrize("method", READS + WRITES)
async def test_key_that_may_act_as_user_acts_as_the_named_one(bench: Bench, kind: Any, method: str) -> None:
    secret = bench.key(kind, "read", "act_as_user", "admin")
    key = bench.world.keys[secret]
    client = await bench.ask({"X-API-Key": secret, "X-User-Email": " Grace@Example.com", "X-Claim-Token": CLAIM}, method)
    user = bench.world.users[key.workspace_id, "grace@example.com"]
    expected = Caller(CallerKind.USER, "gateway", key.workspace_id, f"user:{user.id}", key.id, ("read",), user.id, digest_of(CLAIM))
    assert client.caller == expected
    assert client.email == "grace@example.com"


@pytest.mark.parametrize("kind", [APP, WORKSPACE])
@pytest.mark.parametrize("scopes", [(), ("read", "write", "admin")])
@pytest.mark.parametrize("email", [EMAIL, "no address"])
async def test_name_without_the_right_to_it_grants_nothing(bench: Bench, kind: Any, scopes: tuple[str, ...], email: str) -> None:
    secret = bench.key(kind, *scopes)
    users = len(bench.world.users)
    for method in READS:
        named = await bench.ask({"X-API-Key": secret, "X-User-Email": email}, method)
        assert named == await bench.ask({"X-API-Key": secret}, method)
    for method in WRITES:
        assert await bench.refused({"X-API-Key": secret, "X-User-Email": email}, method) == Reason.FORBIDDEN
    assert len(bench.world.users) == users


@pytest.mark.parametrize(
    "email",
    [
        "ada",
        "@example.com",
        "ada@",
        "ada@exa mple.com",
        "a@b, c@d",
        "ada@-x.com",
        "ada@\xe9.com",
        "a@" + "b" * 260,
        "a" * 65 + "@b.c",
        "a@b@c",
    ],
)
async def test_name_that_is_no_address_is_refused(bench: Bench, email: str) -> None:
    assert await bench.refused({"X-API-Key": bench.key(APP, "read", "act_as_user"), "X-User-Email": email}) == Reason.BAD_REQUEST


async def test_name_sent_twice_is_refused(bench: Bench) -> None:
    headers = raw({"X-API-Key": bench.key(APP, "read", "act_as_user"), "X-User-Email": EMAIL})
    with pytest.raises(Refusal) as refused:
        await bench.identity.resolve("GET", [*headers, headers[-1]])
    assert refused.value.reason is Reason.BAD_REQUEST


async def test_beside_a_proof_another_name_grants_nothing(bench: Bench) -> None:
    for scopes in ((), ("read", "write", "act_as_user")):
        proven = {"X-API-Key": bench.key(APP, *scopes), **bearer(bench.open.mint())}
        for method in READS + WRITES:
            assert (await bench.ask({**proven, "X-User-Email": EMAIL.upper()}, method)).email == EMAIL
        assert (await bench.ask({**proven, "X-User-Email": "root@example.com"})).email == EMAIL
        assert await bench.refused({**proven, "X-User-Email": "root@example.com"}, "POST") == Reason.FORBIDDEN


@pytest.mark.parametrize("scopes", [("admin",), ("act_as_user",), ("admin", "act_as_user")])
async def test_key_that_may_neither_read_nor_write_lends_its_users_no_more(bench: Bench, scopes: tuple[str, ...]) -> None:
    headers = {"X-API-Key": bench.key(APP, *scopes)}
    assert await bench.refused(headers) == Reason.FORBIDDEN
    assert await bench.refused({**headers, **bearer(bench.open.mint())}) == Reason.FORBIDDEN


@pytest.mark.parametrize("method", READS + WRITES)
async def test_token_alone_of_an_issuer_with_users(bench: Bench, method: str) -> None:
    client = await bench.ask({**bearer(bench.users.mint()), "X-Claim-Token": CLAIM}, method)
    user = bench.world.users[bench.home, EMAIL]
    expected = Caller(CallerKind.USER, "gateway", bench.home, f"user:{user.id}", "", ("read", "write"), user.id, digest_of(CLAIM))
    assert client.caller == expected
    assert (client.email, client.tier, client.manages_workspace) == (EMAIL, "free", False)


@pytest.mark.parametrize("method", READS + WRITES)
async def test_token_alone_of_an_issuer_with_members_acts_as_the_workspace(bench: Bench, method: str) -> None:
    client = await bench.ask(bearer(bench.members.mint()), method)
    assert client.caller == Caller(CallerKind.USER, "gateway", bench.home, "workspace")
    assert (client.email, client.tier, client.retention_days, client.manages_workspace) == (EMAIL, "paid", 365, True)


async def test_token_alone_of_an_issuer_without_a_role_is_refused(bench: Bench) -> None:
    for issuer in (bench.open, bench.bound):
        assert await bench.refused(bearer(issuer.mint())) == Reason.INVALID_TOKEN


async def test_issuer_of_one_workspace_signs_nobody_in_to_another(bench: Bench) -> None:
    foreign, own = bench.key(APP), bench.key(APP, home=True)
    for issuer in (bench.users, bench.members, bench.bound):
        assert await bench.refused({"X-API-Key": foreign, **bearer(issuer.mint())}) == Reason.INVALID_TOKEN
        client = await bench.ask({"X-API-Key": own, **bearer(issuer.mint())})
        assert client.caller.owner == f"user:{bench.world.users[bench.home, EMAIL].id}"


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": ""}, {"Authorization": ""}, {"Authorization": "Bearer "}, {"Authorization": "Basic YTpi"}, {"X-User-Email": EMAIL}],
)
async def test_nothing_shown_is_no_key(bench: Bench, headers: Headers) -> None:
    for method in READS + WRITES:
        assert await bench.refused({**headers, "X-Guest-Token": "x", "X-Claim-Token": "y"}, method) == Reason.MISSING_API_KEY


async def test_key_may_come_as_bearer(bench: Bench) -> None:
    for kind in (APP, WORKSPACE):
        secret = bench.key(kind)
        client = await bench.ask({"X-API-Key": secret})
        for scheme in ("Bearer", "bearer", "BEARER"):
            assert await bench.ask({"Authorization": f"{scheme} {secret}"}) == client
        assert await bench.ask({"X-API-Key": secret, **bearer(secret)}) == client


async def test_two_keys_are_refused(bench: Bench) -> None:
    first, second = bench.key(WORKSPACE), bench.key(WORKSPACE)
    assert await bench.refused({"X-API-Key": first, **bearer(second)}) == Reason.INVALID_API_KEY
    with pytest.raises(Refusal) as refused:
        await bench.identity.resolve("GET", raw({"X-API-Key": first}) + raw({"X-API-Key": second}))
    assert refused.value.reason is Reason.INVALID_API_KEY


@pytest.mark.parametrize("secret", ["sk_test_unknown", "unknown", "x" * 300, "sk_test_two words", "sk_test_\xe9"])
async def test_unknown_key_is_refused_whatever_stands_beside_it(bench: Bench, secret: str) -> None:
    for beside in ({}, bearer(bench.open.mint()), {"X-User-Email": EMAIL}, {"X-Guest-Token": "x"}):
        assert await bench.refused({"X-API-Key": secret, **beside}) == Reason.INVALID_API_KEY


@pytest.mark.parametrize("claim", ["x", "-" * 128, "not/alphabet", "x" * 200, "\xff"])
async def test_claim_token_reaches_jobs_as_a_digest_only(bench: Bench, claim: str) -> None:
    client = await bench.ask({"X-API-Key": bench.key(APP), "X-Claim-Token": claim})
    assert client.caller.claim_digest == hashlib.sha256(claim.encode("latin-1")).hexdigest()


async def test_claim_token_sent_twice_is_a_wrong_one(bench: Bench) -> None:
    headers = raw({"X-API-Key": bench.key(APP), "X-Claim-Token": CLAIM})
    client = await bench.identity.resolve("GET", [*headers, headers[-1]])
    assert client.caller.claim_digest not in ("", digest_of(CLAIM))


async def test_answers_of_billing_are_remembered(bench: Bench) -> None:
    app = bench.key(APP)
    asks: list[Callable[[], Headers]] = [
        lambda: {"X-API-Key": app, **bearer(bench.open.mint())},
        lambda: {"X-API-Key": app, "X-Guest-Token": wallet},
        lambda: bearer(bench.members.mint()),
    ]
    wallet = bench.world.new_wallet(app)
    for ask in asks:
        await bench.ask(ask())
        before = (bench.world.authentications, bench.world.resolutions)
        for _ in range(5):
            await bench.ask(ask())
        assert (bench.world.authentications, bench.world.resolutions) == before


async def test_no_secret_is_logged(bench: Bench) -> None:
    log = StringIO()
    with logging_to(log):
        secret = bench.key(APP, "read", "act_as_user")
        good, bad = bench.open.mint(), bench.open.mint(exp=1)
        wallet = bench.world.new_wallet(secret)
        await bench.ask({"X-API-Key": secret, **bearer(good), "X-Claim-Token": CLAIM})
        await bench.ask({"X-API-Key": secret, "X-Guest-Token": wallet})
        await bench.refused({"X-API-Key": secret, **bearer(bad)})
        await bench.refused({"X-API-Key": secret, "X-Guest-Token": wallet + "x"})
        await bench.refused({"X-API-Key": "sk_test_canary"})
        await bench.refused({"X-API-Key": secret, "X-User-Email": "canary@"}, "POST")
    told = log.getvalue()
    assert "token refused" in told, "the log that is searched is the one that is written"
    for hidden in (secret, "sk_test_canary", good, bad, wallet, CLAIM, "canary@", EMAIL, *good.split("."), *bad.split(".")):
        assert hidden not in told


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


async def test_revoked_key_stops_everywhere_within_a_second(bench: Bench, tmp_path: Path) -> None:
    signer = TokenSigner(load_key(bench.settings.identity_key_file), "gateway")
    async with nats_server(tmp_path) as nats, open_bus(nats.url, name="billing") as bus, open_peers(bench.settings, signer) as peers:
        gateways = [Gateway(ApiKeys(peers.accounts, remember_seconds=600), nats.url) for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            for gateway in gateways:
                group.create_task(gateway.revocations.run(gateway.stopping))
            async with asyncio.timeout(10):
                while not all([await gateway.revocations.connected() for gateway in gateways]):
                    await asyncio.sleep(0.01)
            secret = bench.key(WORKSPACE)
            for gateway in gateways:
                await gateway.keys.resolve(secret)
            key = bench.world.keys[secret]
            key.revoke_time.GetCurrentTime()
            event = KeyRevoked(api_key_id=key.id, workspace_id=key.workspace_id)
            await bus.publish(event_subject("billing", KeyRevoked), event, event_id=new_id())
            async with asyncio.timeout(1):
                for gateway in gateways:
                    await gateway.wait_until_refused(secret)
            for gateway in gateways:
                gateway.stopping.set()


async def test_answer_that_a_revocation_overtakes_is_not_remembered(bench: Bench) -> None:
    secret = bench.key(WORKSPACE)
    key = bench.world.keys[secret]
    asking = asyncio.create_task(bench.keys.resolve(secret))
    await asyncio.sleep(0)
    bench.keys.forget(key.id)
    await asking
    key.revoke_time.GetCurrentTime()
    assert await bench.refused({"X-API-Key": secret}) == Reason.INVALID_API_KEY


@dataclass
class Gateway:
    """The part of a gateway that knows keys."""

    keys: ApiKeys
    nats_url: str
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.revocations = Revocations(self.nats_url, self.keys)

    async def wait_until_refused(self, secret: str) -> None:
        while True:
            try:
                await self.keys.resolve(secret)
            except RemoteError as error:
                if error.reason_name == "INVALID_API_KEY":
                    return
            await asyncio.sleep(0.005)
