"""Published keys: rotated, unreachable, slow, broken, hostile."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from services.gateway.identity.documents import ISSUER_LIMITS, fetching
from services.gateway.identity.issuers import Issuer
from services.gateway.identity.key_sets import read_key_set, read_max_age
from services.gateway.identity.signing_keys import PublishedKeys
from services.mesh.egress.addresses import read_policy
from services.mesh.egress.egress import open_egress
from tests.oidc import AUDIENCE, Health, OidcIssuer, new_key, oidc_issuer

OUTAGES = [health for health in Health if health is not Health.UP]
HOUR = 3600.0


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture
async def issuer() -> AsyncIterator[OidcIssuer]:
    """An issuer with an ES256 key, which is made faster than others."""
    async with oidc_issuer("ES256") as opened:
        yield opened


@pytest.fixture
def clock() -> Clock:
    """The clock of `keys`."""
    return Clock()


@pytest_asyncio.fixture
async def keys(issuer: OidcIssuer, clock: Clock) -> AsyncIterator[PublishedKeys]:
    """The issuer's keys as the gateway sees them."""
    async with open_egress(read_policy(["127.0.0.0/8"]), ISSUER_LIMITS) as egress:
        yield PublishedKeys(settings_of(issuer), fetching(egress), clock)


def settings_of(issuer: OidcIssuer, **changes: Any) -> Issuer:
    return Issuer.model_validate({"issuer": issuer.url, "audiences": [AUDIENCE], "allow_plain_http": True, **changes})


async def test_rotated_key_is_found_without_a_restart(issuer: OidcIssuer, keys: PublishedKeys, clock: Clock) -> None:
    (old,) = issuer.keys
    assert await keys.find(old) is not None
    new = issuer.rotate("ES256")
    clock.now += 61
    assert await keys.find(new) is not None
    assert await keys.find(old) is None, "a withdrawn key is forgotten with the set that it was in"


async def test_unknown_ids_cost_one_fetch_a_minute(issuer: OidcIssuer, keys: PublishedKeys, clock: Clock) -> None:
    for minute in range(1, 4):
        for number in range(20):
            assert await keys.find(f"unknown-{number}") is None
            clock.now += 1
        assert issuer.keys_asked == minute
        clock.now += 60


async def test_waiting_requests_share_one_fetch(issuer: OidcIssuer, keys: PublishedKeys) -> None:
    (known,) = issuer.keys
    found = await asyncio.gather(*(keys.find(key_id) for key_id in [known, "unknown"] * 20))
    assert [key is not None for key in found] == [True, False] * 20
    assert issuer.keys_asked == 1


@pytest.mark.parametrize("health", OUTAGES)
async def test_keys_outlive_an_outage_for_a_day(issuer: OidcIssuer, keys: PublishedKeys, clock: Clock, health: Health) -> None:
    (known,) = issuer.keys
    assert await keys.find(known) is not None
    issuer.health = health
    clock.now += 23 * HOUR
    started = time.monotonic()
    assert await keys.find("unknown") is None
    assert time.monotonic() - started < 3.5
    assert await keys.find(known) is not None
    clock.now += 2 * HOUR
    assert await keys.find(known) is None
    issuer.health = Health.UP
    clock.now += 5
    assert await keys.find(known) is not None


async def test_keys_that_never_came_are_asked_for_again_soon(issuer: OidcIssuer, keys: PublishedKeys, clock: Clock) -> None:
    (known,) = issuer.keys
    issuer.health = Health.FAILING
    assert [await keys.find(known) for _ in range(10)] == [None] * 10
    issuer.health = Health.UP
    clock.now += 5
    assert await keys.find(known) is not None


async def test_cancelled_request_takes_no_fetch_from_the_next(issuer: OidcIssuer, keys: PublishedKeys) -> None:
    (known,) = issuer.keys
    issuer.health = Health.SILENT
    async with asyncio.TaskGroup() as group:
        first = group.create_task(keys.find(known))
        while not keys._lock.locked():
            await asyncio.sleep(0)
        first.cancel()
    issuer.health = Health.UP
    assert await keys.find(known) is not None


async def test_keys_are_there_before_the_first_request_and_stay_fresh(issuer: OidcIssuer, keys: PublishedKeys, clock: Clock) -> None:
    issuer.cache_control = "public, max-age=600"
    await run_until_asked(issuer, keys, 1)
    (old,) = issuer.keys
    assert await keys.find(old) is not None
    assert issuer.keys_asked == 1
    new = issuer.rotate("ES256", keep=True)
    clock.now += 601
    await run_until_asked(issuer, keys, 2)
    assert await keys.find(new) is not None
    assert issuer.keys_asked == 2, "the request found what the task had fetched"


async def run_until_asked(issuer: OidcIssuer, keys: PublishedKeys, times: int) -> None:
    """Let the task that keeps the keys fresh work until the issuer was asked so often."""
    stopping = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(keys.run(stopping))
        while issuer.keys_asked < times or keys._lock.locked():
            await asyncio.sleep(0.005)
        stopping.set()


async def test_address_of_the_keys_may_be_configured(issuer: OidcIssuer) -> None:
    (known,) = issuer.keys
    settings = settings_of(issuer, jwks_url=issuer.keys_url).model_copy(update={"issuer": "whatever it is called"})
    async with open_egress(read_policy(["127.0.0.0/8"]), ISSUER_LIMITS) as egress:
        assert await PublishedKeys(settings, fetching(egress)).find(known) is not None


@pytest.mark.parametrize("networks", [[], ["10.0.0.0/8"]])
async def test_issuer_inside_a_network_that_is_not_allowed_is_never_asked(issuer: OidcIssuer, networks: list[str]) -> None:
    (known,) = issuer.keys
    async with open_egress(read_policy(networks), ISSUER_LIMITS) as egress:
        assert await PublishedKeys(settings_of(issuer), fetching(egress)).find(known) is None
    assert issuer.keys_asked == 0


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://another.example.com", "jwks_uri": "{keys}"},
        {"issuer": "{issuer}"},
        {"issuer": "{issuer}", "jwks_uri": 7},
        {"issuer": "{issuer}", "jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "{keys}"},
        [],
        None,
    ],
)
async def test_configuration_of_another_issuer_is_not_followed(issuer: OidcIssuer, document: Any) -> None:
    told = document
    if isinstance(document, dict):
        told = {
            name: value.format(issuer=issuer.url, keys=issuer.keys_url) if isinstance(value, str) else value
            for name, value in document.items()
        }
    asked: list[str] = []

    async def fetch(url: str) -> tuple[Any, str]:
        asked.append(url)
        return told, ""

    (known,) = issuer.keys
    assert await PublishedKeys(settings_of(issuer), fetch).find(known) is None
    assert asked == [issuer.url + "/.well-known/openid-configuration"]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 3600),
        ("no-store", 3600),
        ("max-age=900", 900),
        ("public, max-age=20045, must-revalidate", 20045),
        ('MAX-AGE="900"', 900),
        ("max-age=0", 300),
        ("max-age=1", 300),
        ("max-age=-1", 3600),
        ("max-age=999999999", 86400),
        ("max-age=99999999999999", 3600),
        ("s-maxage=900", 3600),
        ("x-max-age=900", 3600),
    ],
)
def test_age_of_keys_is_what_the_issuer_says_within_bounds(header: str, seconds: float) -> None:
    assert read_max_age(header) == seconds


GOOD = new_key("ES256", "good").as_dict(private=False)
UNUSABLE: dict[str, Any] = {
    "a number": 7,
    "null": None,
    "no kid": {name: value for name, value in GOOD.items() if name != "kid"},
    "kid empty": {**GOOD, "kid": ""},
    "kid a list": {**GOOD, "kid": ["a"]},
    "for encryption": {**GOOD, "kid": "bad", "use": "enc"},
    "for signing only": {**GOOD, "kid": "bad", "key_ops": ["sign"]},
    "operations by word": {**GOOD, "kid": "bad", "key_ops": "verify"},
    "a secret": {"kid": "bad", "kty": "oct", "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"},
    "an unknown type": {"kid": "bad", "kty": "XYZ", "x": "AAAA"},
    "a type that is a list": {**GOOD, "kid": "bad", "kty": ["EC"]},
    "another curve": {"kid": "bad", "kty": "EC", "crv": "P-521", "x": "AAAA", "y": "AAAA"},
    "a point off the curve": {**GOOD, "kid": "bad", "x": GOOD["y"]},
    "a point that is no base64": {**GOOD, "kid": "bad", "x": "****"},
    "an empty point": {**GOOD, "kid": "bad", "x": ""},
    "without y": {"kid": "bad", "kty": "EC", "crv": "P-256", "x": GOOD["x"]},
    "for key agreement": {"kid": "bad", "kty": "OKP", "crv": "X25519", "x": "A" * 43},
    "RSA of 64 bits": {"kid": "bad", "kty": "RSA", "n": "3q2-796tvu8", "e": "AQAB"},
    "RSA of 20,000 bits": {"kid": "bad", "kty": "RSA", "n": "_" * 3400, "e": "AQAB"},
    "RSA with a long exponent": {"kid": "bad", "kty": "RSA", "n": "_" * 342, "e": "_" * 342},
    "RSA with exponent 1": {"kid": "bad", "kty": "RSA", "n": "_" * 342, "e": "AQ"},
    "RSA empty": {"kid": "bad", "kty": "RSA", "n": "", "e": ""},
    "algorithm a number": {**GOOD, "kid": "bad", "alg": 7},
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_key_is_left_out_and_hides_no_other(name: str) -> None:
    assert list(read_key_set({"keys": [UNUSABLE[name], GOOD, UNUSABLE[name]]})) == ["good"]


def test_published_private_key_is_read_as_the_public_one() -> None:
    (key,) = read_key_set({"keys": [new_key("ES256", "leaked").as_dict(private=True)]}).values()
    assert not key.is_private


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": [7]}, {"keys": [GOOD] * 101}])
def test_document_without_usable_keys_is_no_key_set(document: Any) -> None:
    with pytest.raises(ValueError, match="key"):
        read_key_set(document)
