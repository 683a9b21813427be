"""Every channel that fetches for others, on a small internet of loopback: direct, redirected, posted, keys of issuers."""

import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from faults.corpora.egress import every_url, locations
from services.gateway.identity.documents import fetching
from services.gateway.identity.issuers import Issuer
from services.gateway.identity.signing_keys import PublishedKeys
from services.mesh.errors import FetchBlocked, FetchFailed, InvalidUrl
from tests.mesh.egress_world import PUBLIC, World, page, redirect

_STATUSES = (301, 302, 303, 307, 308)
_REFUSED = (InvalidUrl, FetchBlocked, FetchFailed)
_DISCOVERY = "/.well-known/openid-configuration"


@dataclass(frozen=True)
class Tried:
    """What a channel did with its vectors. let_through: those that were not refused; sentences: every refusal's words."""

    vectors: int
    let_through: Sequence[str]
    sentences: frozenset[str]


Ask = Callable[[str], Awaitable[object]]


async def try_channels(world: World, chance: random.Random) -> Mapping[str, Tried]:
    """Every vector through every channel."""
    vectors = every_url(world.port)
    return {
        "direct": await _try(vectors, world.fetch),
        "redirect": await _try(locations(world.port), lambda url: _redirected(world, url, chance.choice(_STATUSES))),
        "webhook": await _try(vectors, lambda url: world.egress.post(url, b"{}", {"webhook-id": "1"})),
        "JWKS": await _try(vectors, lambda url: _keys(world, url)),
        "discovery": await _try(vectors, lambda url: _discovered(world, url)),
    }


async def _try(vectors: Sequence[str], ask: Ask) -> Tried:
    let_through, sentences = [], set()
    for vector in vectors:
        try:
            await ask(vector)
            let_through.append(vector)
        except _REFUSED as error:
            sentences.add(error.message)
    return Tried(len(vectors), let_through, frozenset(sentences))


async def _redirected(world: World, location: str, status: int) -> None:
    world.pages["/"] = redirect(location, status)
    await world.fetch(world.url())


async def _keys(world: World, url: str) -> None:
    """A key of an issuer whose key set is said to be there; refused by the file's rules or by the fetch."""
    try:
        issuer = Issuer(issuer="https://issuer.example", audiences=["steno"], jwks_url=url or "none", allow_plain_http=True)
    except ValidationError as error:
        raise InvalidUrl from error
    await _find(issuer, world)


async def _discovered(world: World, url: str) -> None:
    """The same for an issuer that says so itself."""
    issuer = Issuer(issuer=world.url(""), audiences=["steno"], allow_plain_http=True)
    document = {"issuer": issuer.issuer, "jwks_uri": url}
    world.pages[_DISCOVERY] = page(json.dumps(document).encode())
    await _find(issuer, world)


async def _find(issuer: Issuer, world: World) -> None:
    if await PublishedKeys(issuer, fetching(world.egress)).find("any") is None:
        raise FetchFailed


@dataclass
class Rebinding:
    """Names that turn private: after an answer, between redirects, among many answers."""

    world: World
    chance: random.Random
    reached: int = 0
    broken: int = 0

    async def round(self) -> None:
        """One try, of any kind."""
        self.world.asked.clear()
        await self.chance.choice((self._after_an_answer, self._between_redirects, self._among_answers))()

    async def _after_an_answer(self) -> None:
        """The first answer is the one that counts: asked once, connected to it, whatever a second one would be."""
        self.world.names["rebind.example"] = [[PUBLIC], ["127.0.0.1"]]
        self.world.pages["/"] = page(b"public")
        self._expect(await self._fetch() == b"public")
        self._expect(await self._fetch() is None)
        self._expect(self.world.asked == ["rebind.example"] * 2)

    async def _between_redirects(self) -> None:
        safe = self.chance.randrange(1, 4)
        self.world.names["rebind.example"] = [*[[PUBLIC]] * safe, ["127.0.0.1"]]
        self.world.pages |= {"/": redirect("/1"), "/1": redirect("/2"), "/2": redirect("/3")}
        self._expect(await self._fetch() is None)
        self._expect(len(self.world.asked) == safe + 1)

    async def _among_answers(self) -> None:
        answers = [PUBLIC] * self.chance.randrange(1, 20) + [self.chance.choice(["127.0.0.1", "::1", "::ffff:127.0.0.1"])]
        self.chance.shuffle(answers)
        self.world.names["rebind.example"] = [answers]
        self._expect(await self._fetch() is None)

    async def _fetch(self) -> bytes | None:
        try:
            return await self.world.fetch(self.world.url(name="rebind.example"))
        except FetchBlocked:
            return None

    def _expect(self, holds: bool) -> None:
        self.broken += not holds
