"""Forged tokens, forged callers and guessed keys at the real doors: nobody comes in, and no refusal tells why."""

import asyncio
import random
import string
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import log2
from pathlib import Path

import grpc
import httpx2

from faults.campaign import Figure, Options
from faults.corpora import caller_tokens
from faults.corpora.identities import FORGED, Sources
from faults.doors.remote_calls import SERVERS
from faults.doors.strangers import Answer, plain
from faults.doors.timing import separability
from services.billing.keys import BASE62, LIVE_MARK, RANDOM_CHARACTERS
from services.mesh.identity import TOKEN_METADATA_KEY, load_key
from services.stack.data_directory import DataDirectory, write_private
from tests.e2e.mesh import Mesh, running_mesh
from tests.e2e.open_mesh import new_key
from tests.oidc import AUDIENCE, running_issuer

LEAST_FORGERIES = 60
# Requests of every contract, reads and writes; of the last one no byte of the body is sent.
DOORS = (
    ("GET", "/api/v1/me"),
    ("DELETE", "/api/v1/jobs/01980000-0000-7000-8000-000000000000"),
    ("GET", "/icana/api/v1/usage"),
    ("GET", "/relay/api/v1/auth/api-keys"),
    ("GET", "/api/usage"),
    ("GET", "/v1/models"),
)
_SECRET, _SECRET_ISSUER = b"a secret of an issuer, long enough for HS256", "https://abc.example.com/auth/v1"
_GUESSERS = 8
# Longer than the head of a request may be: the edge ends it before anybody reads the token.
_TOO_LONG = 16_000


@dataclass(frozen=True)
class Signing:
    """A mesh that trusts two issuers, what a forger has of them, and an application's key."""

    mesh: Mesh
    sources: Sources
    app_key: str


def run(options: Options) -> Sequence[Figure]:
    """Outside tokens, tokens between services, API keys."""
    with running_signing(options.folder) as signing:
        return [*_tokens(signing), *asyncio.run(_callers(signing.mesh)), *_keys(options, signing)]


@contextmanager
def running_signing(folder: Path) -> Iterator[Signing]:
    """It, ready."""
    with running_issuer() as issuer, running_issuer() as stranger:
        issuer.rotate("RS256", keep=True)
        write_private(folder / "secret", _SECRET.decode())
        table = f'[[issuer]]\nissuer = "{issuer.url}"\naudiences = ["{AUDIENCE}"]\nallow_plain_http = true\n'
        by_secret = f'[[issuer]]\nissuer = "{_SECRET_ISSUER}"\naudiences = ["{AUDIENCE}"]\nalgorithms = ["HS256"]\nsecret_file = "secret"\n'
        (folder / "issuers.toml").write_text(table + by_secret)
        environment = {
            "STENO_GATEWAY_OIDC_ISSUERS_FILE": str(folder / "issuers.toml"),
            "STENO_GATEWAY_EGRESS_ALLOWED_NETWORKS": "127.0.0.1/32",
        }
        with running_mesh(folder, environment) as mesh:
            yield Signing(mesh, Sources(issuer, stranger, _SECRET_ISSUER, _SECRET), new_key(mesh, kind="app"))


def _tokens(signing: Signing) -> Iterator[Figure]:
    """Every forgery at every door, with an application's key and without."""
    accepted, answers, sent = [], dict[tuple[str, str], set[bytes]](), 0
    with signing.mesh.client_for("") as client:
        for (name, forge), (method, path) in ((item, door) for item in FORGED.items() for door in DOORS):
            for key in ({"X-API-Key": signing.app_key}, {}):
                # Made at the last moment: a token of the future becomes good while a slow machine gets to it.
                token = forge(signing.sources)
                told = client.request(method, path, headers={**key, "Authorization": f"Bearer {token}".strip()})
                sent += 1
                if not (told.status_code == 401 or (len(token) > _TOO_LONG and 400 <= told.status_code < 500)):
                    accepted.append(f"{name} at {method} {path}: {told.status_code}")
                elif told.status_code == 401 and (token or key):
                    # Neither key nor token is no forgery: such a client is told that a key is missing.
                    answers.setdefault((method, path), set()).add(told.content)
        good = [signing.sources.issuer.mint(), signing.sources.signed(signing.sources.issuer.claims()), signing.sources.by_secret()]
        greeted = [client.get("/api/v1/me", headers={"X-API-Key": signing.app_key, "Authorization": f"Bearer {token}"}) for token in good]
    for line in accepted:
        print(f"   {line}", flush=True)
    yield Figure("forged tokens", len(FORGED), at_least=LEAST_FORGERIES)
    yield Figure("requests with them", sent, at_least=LEAST_FORGERIES)
    yield Figure("forged tokens accepted", len(accepted), at_most=0)
    yield Figure("different bodies of 401 at one door, at most", max(map(len, answers.values())), at_most=1)
    yield Figure("good tokens refused", sum(not answer.json().get("signed_in") for answer in greeted), at_most=0)


async def _callers(mesh: Mesh) -> Sequence[Figure]:
    """Every forged caller token at every server of the mesh."""
    key, told, accepted = load_key(DataDirectory(mesh.data).identity_key), set(), 0
    for server in SERVERS:
        method = next(iter(SERVERS[server][0].DESCRIPTOR.services_by_name.values())).methods[0]
        async with grpc.aio.insecure_channel(mesh.ready["grpc"][server]) as channel:
            for forge in caller_tokens.FORGED.values():
                answer = await _refusal(channel, f"/{method.containing_service.full_name}/{method.name}", forge(key))
                accepted += answer[0] != "UNAUTHENTICATED"
                told.add(answer)
    return [
        Figure("forged callers", len(caller_tokens.FORGED) * len(SERVERS), at_least=80),
        Figure("forged callers accepted", accepted, at_most=0),
        Figure("words for a forged caller", len(told - _NOT_SENT), at_most=1),
    ]


# An empty token is none, and gRPC's own client refuses to send one that is not ASCII.
_NOT_SENT = {("UNAUTHENTICATED", "The call carries neither a caller token nor an API key.")}


async def _refusal(channel: grpc.aio.Channel, path: str, token: str) -> tuple[str, str]:
    sent = token if token.isascii() else token.encode("ascii", "replace").decode()
    try:
        await channel.unary_unary(path)(b"", metadata=((TOKEN_METADATA_KEY, sent),), timeout=20)  # type: ignore[arg-type]
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    return "OK", ""


def _keys(options: Options, signing: Signing) -> Iterator[Figure]:
    """Guesses near a good key and far from it, several at once."""
    chance = random.Random(options.seed)
    guesses = list(_guesses(signing, chance, options.amount(1_000, 20_000)))
    started = time.monotonic()
    with ThreadPoolExecutor(_GUESSERS, "guessers") as threads:
        parts = list(threads.map(lambda number: _guess(signing.mesh, guesses[number::_GUESSERS]), range(_GUESSERS)))
    seconds = time.monotonic() - started
    answers = set().union(*parts)
    bits = RANDOM_CHARACTERS * log2(len(BASE62))
    yield Figure("guessed keys", len(guesses), at_least=1_000)
    yield Figure("guessed keys accepted", sum(status != 401 for status, _, _ in answers), at_most=0)
    yield Figure("different answers to them", len(answers), at_most=1)
    yield Figure("guesses a second that this machine answers", len(guesses) / seconds)
    yield Figure("random bits of a key", bits, at_least=128, unit="bit")
    yield Figure("years until one of a million keys is guessed, 10^x", _exponent_of_years(bits, len(guesses) / seconds), at_least=9)
    if options.long:
        yield Figure("p that times tell a near guess from a far one", _told_by_time(signing, chance), at_least=0.01)


def _exponent_of_years(bits: float, guesses_per_second: float) -> float:
    return (bits - log2(1e6 * guesses_per_second * 365.25 * 86_400)) / log2(10)


def _guesses(signing: Signing, chance: random.Random, count: int) -> Iterator[str]:
    """One character of a good key changed, cut, lengthened; an ended key; then any others."""
    good = signing.mesh.ready["api_key"]
    for place in range(len(good)):
        yield good[:place] + chance.choice([letter for letter in BASE62 if letter != good[place]]) + good[place + 1 :]
    yield from (good[:-1], good + "A", good.swapcase(), good.replace("live", "test"), good[::-1])
    made = signing.mesh.client.post("/api/v1/auth/api-keys", json={"name": "ended"}).raise_for_status().json()
    signing.mesh.client.delete(f"/api/v1/auth/api-keys/{made['id']}").raise_for_status()
    yield str(made["key"])
    for _ in range(max(0, count - len(good) - 6)):
        yield LIVE_MARK + "".join(chance.choice(BASE62) for _ in range(RANDOM_CHARACTERS))


def _guess(mesh: Mesh, keys: Sequence[str]) -> set[Answer]:
    with mesh.client_for("") as client:
        return {plain(client.get("/api/v1/me", headers={"X-API-Key": key})) for key in keys}


def _told_by_time(signing: Signing, chance: random.Random) -> float:
    """A key wrong in its last character against one wrong in its first."""
    good = signing.mesh.ready["api_key"]
    near, far = good[:-1] + _other(good[-1]), good[: len(LIVE_MARK)] + _other(good[len(LIVE_MARK)]) + good[len(LIVE_MARK) + 1 :]
    with signing.mesh.client_for("") as client:

        def ask(key: str) -> httpx2.Response:
            return client.get("/api/v1/me", headers={"X-API-Key": key})

        return separability(lambda: ask(near), lambda: ask(far), 2_000, chance)


def _other(letter: str) -> str:
    return next(other for other in string.ascii_letters if other != letter)
