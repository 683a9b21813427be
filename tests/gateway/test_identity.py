"""Who is who: every kind of key, with every header, for reads and for writes."""

import hashlib
from typing import Any

import pytest

from services.gateway.domain import Reason, Refusal
from services.mesh.identity import Caller, CallerKind
from tests.gateway.identity_bench import APP, CLAIM, WORKSPACE, Bench, Headers, bearer, digest_of, raw
from tests.oidc import EMAIL

pytestmark = pytest.mark.asyncio(loop_scope="module")
READS, WRITES = ("GET", "HEAD"), ("POST", "DELETE", "PUT", "PATCH")


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
