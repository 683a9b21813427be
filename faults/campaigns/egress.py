"""URLs that lead where nobody may go, through every channel that fetches: submit, redirect, webhook, JWKS; and names that turn private."""

import asyncio
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from structlog.testing import capture_logs

from faults.campaign import Figure, Options
from faults.corpora.egress import INNOCENT_NAMES, blocked_urls, every_url, invalid_urls, locations
from faults.doors.canary import Canary, running_canary
from faults.doors.fetching import Rebinding, Tried, try_channels
from faults.doors.named_mesh import NamedMesh, public_web, running_named_mesh
from services.mesh.egress.limits import FetchLimits
from tests.e2e.mesh import wait_for
from tests.mesh.egress_world import open_world
from tests.oidc import new_key

LEAST_VECTORS = 150
# What a settings file of issuers holds at most.
_MOST_ISSUERS = 99
_UNFIT_FOR_TOML = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_IN_HAND = 64
# A busy machine must not look like a server that does not answer.
_PATIENT = FetchLimits(resolve_seconds=60.0, connect_seconds=120.0, idle_seconds=120.0, window_seconds=120.0, floor_seconds=0.0)


@dataclass
class Submitted:
    """What a mesh did with URLs. answers: by status and code of the submit; refusals: by code and words of the ended job."""

    answers: set[tuple[int, str]] = field(default_factory=set)
    refusals: set[tuple[str, str]] = field(default_factory=set)
    billed_seconds: float = 0.0
    count: int = 0


def run(options: Options) -> Sequence[Figure]:
    """All channels in this process, then a whole mesh."""
    chance = random.Random(options.seed)
    alone = asyncio.run(_alone(options, chance))
    with running_canary() as canary, public_web() as web:
        issuers = _issuers(canary.port, chance)
        web.files["/keys"] = json.dumps({"keys": [new_key("RS256", "k").as_dict(private=False)]}).encode()
        table = options.folder / "issuers.toml"
        table.write_text("".join(_table(name, url) for name, url in {**issuers, "good": f"{web.url}/keys"}.items()))
        environment = {"STENO_GATEWAY_OIDC_ISSUERS_FILE": str(table)}
        with running_named_mesh(options.folder, INNOCENT_NAMES, environment, web) as named:
            meshed = list(_on_a_mesh(options, named, canary, chance))
            keys = list(_keys_on_a_mesh(named, issuers))
        return [*alone, *meshed, *keys, Figure("canary hits of the mesh", len(canary.visits), at_most=0)]


async def _alone(options: Options, chance: random.Random) -> Sequence[Figure]:
    # Every refused key set is a line of the log.
    with capture_logs():
        return await _in_a_world(options, chance)


async def _in_a_world(options: Options, chance: random.Random) -> Sequence[Figure]:
    async with open_world(_PATIENT) as world:
        tried = await try_channels(world, chance)
        rebinding = Rebinding(world, chance)
        rounds = options.amount(200, 10_000)
        for _ in range(rounds):
            await rebinding.round()
        hits = len(world.canary_visits)
    return [
        *(figure for channel, result in tried.items() for figure in _channel_figures(channel, result)),
        Figure("rebinding rounds", rounds, at_least=1),
        Figure("rebinding promises broken", rebinding.broken, at_most=0),
        Figure("canary hits of the channels", hits, at_most=0),
    ]


def _channel_figures(channel: str, tried: Tried) -> Iterator[Figure]:
    yield Figure(f"{channel}: vectors", tried.vectors, at_least=LEAST_VECTORS)
    yield Figure(f"{channel}: vectors let through", len(tried.let_through), at_most=0)
    telling = [sentence for sentence in tried.sentences if re.search(r"\d\.\d|refused|errno", sentence, re.IGNORECASE)]
    yield Figure(f"{channel}: refusals that tell an address or a socket's state", len(telling), at_most=0)


def _on_a_mesh(options: Options, named: NamedMesh, canary: Canary, chance: random.Random) -> Iterator[Figure]:
    """Text-level vectors are refused at submit; what only a name or a redirect reveals ends as a failed job."""
    refused = Submitted()
    for url in dict.fromkeys(invalid_urls(canary.port)):
        _submit(named, url, refused)
    yield Figure("submit: vectors", refused.count, at_least=LEAST_VECTORS)
    yield Figure("submit: answers other than 400 BAD_URL", len(refused.answers - _REFUSALS_OF_TEXT), at_most=0)
    found = locations(canary.port)
    sample = chance.sample(found, min(options.amount(20, len(found)), len(found)))
    redirects = [named.web.redirect(_escaped(url)) for url in sample]
    names = list(blocked_urls(canary.port)) if named.knows_names else []
    jobs = Submitted()
    _fetch_all(named, [*names, *redirects], jobs)
    yield Figure("names behind the machine's resolver", len(names), at_least=len(INNOCENT_NAMES) if named.knows_names else 0)
    yield Figure("redirects", len(redirects), at_least=1)
    yield Figure("jobs ended other than failed, FETCH_BLOCKED", sum(code != "FETCH_BLOCKED" for code, _ in jobs.refusals), at_most=0)
    yield Figure("wordings of the refusal", len(jobs.refusals), at_most=1)
    yield Figure("seconds billed", jobs.billed_seconds, at_most=0)


_JSON = {"content-type": "application/json"}
_REFUSALS_OF_TEXT = {(400, "BAD_URL"), (400, "BAD_REQUEST"), (422, "BAD_FIELD")}


def _submit(named: NamedMesh, url: str, told: Submitted) -> str:
    """The job, or nothing."""
    answer = named.mesh.client.post("/api/v1/transcribe/url", content=json.dumps({"url": url}), headers=_JSON)
    told.count += 1
    told.answers.add((answer.status_code, str(answer.json().get("code", ""))))
    return str(answer.json().get("job_id", ""))


def _fetch_all(named: NamedMesh, urls: Sequence[str], told: Submitted) -> None:
    for start in range(0, len(urls), _IN_HAND):
        jobs = [_submit(named, url, told) for url in urls[start : start + _IN_HAND]]
        for row in (named.mesh.finished(job_id) for job_id in jobs if job_id):
            told.refusals.add((str(row.get("error_code")) if row["status"] == "failed" else row["status"], str(row.get("error"))))
            told.billed_seconds += row["billed_seconds"]


def _escaped(url: str) -> str:
    """The web takes the escapes of its query off again."""
    return "".join(f"%{byte:02X}" for byte in url.encode())


def _issuers(port: int, chance: random.Random) -> Mapping[str, str]:
    """Key sets at the corpus's addresses, as many as a file of issuers holds, by the issuer's name."""
    fit = [
        url for url in every_url(port) if url.startswith(("http://", "https://")) and not _UNFIT_FOR_TOML.search(url) and len(url) < 2000
    ]
    chosen = chance.sample(fit, min(_MOST_ISSUERS, len(fit)))
    return {f"issuer-{number}": url for number, url in enumerate(chosen)}


def _table(name: str, url: str) -> str:
    return f'[[issuer]]\nissuer = "{name}"\naudiences = ["steno"]\nallow_plain_http = true\njwks_url = {json.dumps(url)}\n'


def _keys_on_a_mesh(named: NamedMesh, issuers: Mapping[str, str]) -> Iterator[Figure]:
    """The gateway asks for every issuer's keys when it starts; the good one's arrive."""
    log = named.mesh.data / "logs" / "gateway.log"

    def refused() -> set[str]:
        told = (json.loads(line) for line in log.read_text().splitlines() if "keys of an issuer were not fetched" in line)
        return {line["issuer"] for line in told}

    wait_for(lambda: len(refused()) >= len(issuers), 90, "the gateway to ask for every issuer's keys")
    wait_for(lambda: "/keys" in named.web.hits, 30, "the good issuer's keys to be fetched")
    yield Figure("JWKS of a real gateway: addresses refused", len(refused() & issuers.keys()), at_least=len(issuers))
    yield Figure("JWKS of a real gateway: good issuers refused", len(refused() - issuers.keys()), at_most=0)
