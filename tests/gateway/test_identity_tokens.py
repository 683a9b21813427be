"""No token proves anything unless its issuer, key, class, audience, times and subject all do."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faults.corpora.identities import FORGED, Sources
from services.gateway.domain import Reason, Refusal
from services.gateway.identity.documents import ISSUER_LIMITS, fetching
from services.gateway.identity.issuers import Issuer
from services.gateway.identity.signing_keys import PublishedKeys, SecretKey
from services.gateway.identity.tokens import Tokens, Trusted
from services.mesh.egress.addresses import read_policy
from services.mesh.egress.egress import open_egress
from services.mesh.identity import Caller, CallerKind, TokenSigner, load_key, write_new_key
from tests.oidc import AUDIENCE, EMAIL, encode, oidc_issuer, secret_key, sign

pytestmark = pytest.mark.asyncio(loop_scope="module")
SECRET = b"a secret of an issuer, long enough for HS256"
SECRET_ISSUER = "https://abc.example.com/auth/v1"


@dataclass(frozen=True)
class Bench:
    """Tokens under test, and where to get some."""

    tokens: Tokens
    sources: Sources


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench() -> AsyncIterator[Bench]:
    """One trusted issuer with RS256 and ES256, one by secret, one that nobody trusts."""
    async with oidc_issuer() as issuer, oidc_issuer() as stranger:
        issuer.rotate("RS256", keep=True)
        by_keys = Issuer(issuer=issuer.url, audiences=[AUDIENCE], allow_plain_http=True)
        by_secret = Issuer(issuer=SECRET_ISSUER, audiences=[AUDIENCE], algorithms=["HS256"], secret_file=Path("secret"))
        async with open_egress(read_policy(["127.0.0.0/8"]), ISSUER_LIMITS) as egress:
            trusted = {
                issuer.url: Trusted(by_keys, PublishedKeys(by_keys, fetching(egress))),
                SECRET_ISSUER: Trusted(by_secret, SecretKey(SECRET)),
            }
            yield Bench(Tokens(trusted), Sources(issuer, stranger, SECRET_ISSUER, SECRET))


@pytest.mark.parametrize("name", FORGED)
async def test_forged_token_is_refused_like_every_other(bench: Bench, name: str) -> None:
    with pytest.raises(Refusal) as refused:
        await bench.tokens.verify(FORGED[name](bench.sources).encode())
    assert (refused.value.reason, refused.value.message, refused.value.extra) == (Reason.INVALID_TOKEN, "", {})
    assert refused.value.__cause__ is None


async def test_the_tokens_that_were_forged_from_are_good(bench: Bench) -> None:
    good = [bench.sources.issuer.mint(), bench.sources.signed(bench.sources.issuer.claims()), bench.sources.by_secret()]
    assert [(await bench.tokens.verify(token.encode())).email for token in good] == [EMAIL] * 3


async def test_caller_token_of_the_mesh_signs_nobody_in(bench: Bench, tmp_path: Path) -> None:
    write_new_key(tmp_path / "key.pem")
    token = TokenSigner(load_key(tmp_path / "key.pem"), "gateway").mint(Caller(CallerKind.USER, "gateway"), "jobs")
    with pytest.raises(Refusal):
        await bench.tokens.verify(token.encode())


@pytest.mark.parametrize(
    "changes",
    [
        lambda: {"exp": int(time.time()) - 50, "iat": int(time.time()) - 600},
        lambda: {"iat": int(time.time()) + 50},
        lambda: {"nbf": int(time.time()) + 50},
        lambda: {"nbf": int(time.time())},
        lambda: {"exp": int(time.time()) + 24 * 3600},
        lambda: {"aud": [AUDIENCE]},
        lambda: {"aud": [AUDIENCE, AUDIENCE]},
        lambda: {"email": "Ada@Example.COM"},
        lambda: {"sub": "s" * 255},
        lambda: {"note": "x" * 4000},
        lambda: {"groups": ["a", {"b": None}]},
    ],
)
async def test_good_token_at_the_edge_is_accepted(bench: Bench, changes: Callable[[], dict[str, Any]]) -> None:
    assert (await bench.tokens.verify(bench.sources.issuer.mint(**changes()).encode())).email == EMAIL


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt", None])
async def test_tokens_of_access_and_of_identity_are_accepted(bench: Bench, kind: str | None) -> None:
    assert (await bench.tokens.verify(bench.sources.issuer.mint({"typ": kind}).encode())).email == EMAIL


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "PS256", "EdDSA"])
async def test_an_issuer_uses_the_algorithms_of_its_list_only(algorithm: str) -> None:
    async with oidc_issuer(algorithm) as issuer, open_egress(read_policy(["127.0.0.0/8"]), ISSUER_LIMITS) as egress:
        for listed in ("RS256", "ES256", "PS256", "EdDSA"):
            settings = Issuer.model_validate(
                {"issuer": issuer.url, "audiences": [AUDIENCE], "algorithms": [listed], "allow_plain_http": True}
            )
            tokens = Tokens({issuer.url: Trusted(settings, PublishedKeys(settings, fetching(egress)))})
            if listed == algorithm:
                assert (await tokens.verify(issuer.mint().encode())).email == EMAIL
            else:
                with pytest.raises(Refusal):
                    await tokens.verify(issuer.mint().encode())


async def test_what_an_issuer_is_configured_to_differ_in_is_honoured(bench: Bench) -> None:
    issuer = bench.sources.issuer
    settings = Issuer(
        issuer=issuer.url,
        audiences=["account"],
        algorithms=["HS256"],
        secret_file=Path("secret"),
        allow_other_audiences=True,
        email_claim="upn",
        require_email_verified=False,
    )
    tokens = Tokens({issuer.url: Trusted(settings, SecretKey(SECRET))})
    claims = issuer.claims(aud=["account", "other"], upn="grace@example.com", email_verified=None)
    token = sign({"alg": "HS256"}, claims, secret_key(SECRET), "HS256")
    assert (await tokens.verify(token.encode())).email == "grace@example.com"
    with pytest.raises(Refusal):
        await tokens.verify(sign({"alg": "HS256"}, {**claims, "aud": ["other"]}, secret_key(SECRET), "HS256").encode())


async def test_no_key_is_asked_of_a_place_that_a_token_names(bench: Bench) -> None:
    before = bench.sources.stranger.keys_asked
    for header in ({"jku": bench.sources.stranger.keys_url}, {"x5u": bench.sources.stranger.keys_url}):
        with pytest.raises(Refusal):
            await bench.tokens.verify(bench.sources.stranger.mint(header, iss=bench.sources.issuer.url).encode())
    with pytest.raises(Refusal):
        await bench.tokens.verify(bench.sources.stranger.mint().encode())
    assert bench.sources.stranger.keys_asked == before


async def test_no_change_of_one_character_is_accepted(bench: Bench) -> None:
    good = bench.sources.signed(bench.sources.issuer.claims())
    changed = {
        good[:place] + other + good[place + 1 :]
        for place, character in enumerate(good)
        for other in ("A" if character != "A" else "B", ".", "=", "\n")
    } - {good}
    assert not any([await accepts(bench.tokens, token) for token in changed])
    assert len(changed) > 3 * len(good)
    assert await accepts(bench.tokens, good)


ODD_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    10**400,
    "",
    "x",
    "\ud800",
    "\0",
    [],
    [None],
    [[]],
    {},
    {"a": [1]},
    [1, "a"],
    "9" * 5000,
]


async def test_odd_values_anywhere_are_refused_and_break_nothing(bench: Bench) -> None:
    issuer = bench.sources.issuer
    for value in ODD_VALUES:
        for claim in ("iss", "aud", "exp", "iat", "sub", "email", "email_verified"):
            if (claim, value) not in (("email_verified", True), ("sub", "x"), ("sub", "\0"), ("sub", "\ud800")):
                claims = {**issuer.claims(), claim: value}
                assert not await accepts(bench.tokens, bench.sources.signed(claims)), (claim, value)
        for header in ("alg", "kid", "typ", "crit", "jwk", "jku"):
            assert not await accepts(bench.tokens, bench.sources.signed(issuer.claims(), {**bench.sources.header, header: value}))


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_noise_is_refused(bench: Bench, noise: bytes) -> None:
    for token in (noise, b".".join([noise] * 3), b".".join(encode(noise).encode() for _ in range(3))):
        with pytest.raises(Refusal):
            await bench.tokens.verify(token)


async def accepts(tokens: Tokens, token: str) -> bool:
    """Whether a token proves something; anything but a proof or a refusal fails the test."""
    try:
        await tokens.verify(token.encode(errors="surrogatepass"))
    except Refusal:
        return False
    return True
