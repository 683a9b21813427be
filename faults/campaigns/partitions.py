"""Lines between the parts slowed, stopped one way, refused and reset in turn, and COMMITs whose reply is lost."""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from faults.campaign import Figure, Options
from faults.history import recording
from faults.meshes import HURRIED, WITH_DATABASE, Stores, World, distributed_environment, embedded_stores, s3_server
from faults.probes import Answer, Probe, coded_faults
from faults.sounds import make_sounds
from faults.trial import Trial, conclude
from faults.wires import Wires, open_wires, rewired, wire_databases, wire_services
from services.mesh.ids import new_id
from tests.e2e.mesh import running_mesh, wait_for
from tests.proxies import Proxy
from tests.servers import new_postgres_database, postgres_server

ANSWER_SECONDS = 15.0
_RECOVERY_SECONDS = 60.0
_PATIENCE_SECONDS = 240.0
_BROKEN_SECONDS = 5.0
_RESET_EVERY_SECONDS = 0.25
_LATENCY_SECONDS = 0.4
_EDGES = (
    *(("gateway", callee) for callee in ("billing", "storage", "jobs")),
    *((caller, "nats") for caller in ("billing", "storage", "jobs", "inference")),
    ("jobs", "billing"),
    ("jobs", "storage"),
    ("inference", "jobs"),
    ("inference", "storage"),
)
_SHORT = (("gateway", "jobs"),)
_LOST_REPLIES_LONG = 200
_LOST_REPLIES_SHORT = 10
_LOSS_SHARE = 0.1
_ANSWERS = frozenset({200, 202, 502, 503})
Break = Callable[[Wires, str], None]


def _each_a_while(wires: Wires, edge: str) -> None:
    """Resets, one after the other."""
    until = time.monotonic() + _BROKEN_SECONDS
    while time.monotonic() < until:
        wires.do(edge, Proxy.reset)
        time.sleep(_RESET_EVERY_SECONDS)


def _slow(wires: Wires, edge: str) -> None:
    wires.do(edge, lambda proxy: setattr(proxy, "latency_seconds", _LATENCY_SECONDS))
    time.sleep(_BROKEN_SECONDS)
    wires.do(edge, lambda proxy: setattr(proxy, "latency_seconds", 0.0))


def _deaf(wires: Wires, edge: str) -> None:
    wires.do(edge, lambda proxy: proxy.pause("to server"))
    time.sleep(_BROKEN_SECONDS)
    wires.do(edge, Proxy.resume)


def _mute(wires: Wires, edge: str) -> None:
    wires.do(edge, lambda proxy: proxy.pause("to client"))
    time.sleep(_BROKEN_SECONDS)
    wires.do(edge, Proxy.resume)


def _refused(wires: Wires, edge: str) -> None:
    wires.do(edge, Proxy.close)
    time.sleep(_BROKEN_SECONDS)
    wires.reopen(edge)


_BREAKS: Mapping[str, Break] = {
    "slow": _slow,
    "nothing to server": _deaf,
    "nothing to client": _mute,
    "refused": _refused,
    "reset": _each_a_while,
}
_SHORT_BREAKS = ("nothing to client", "refused")


@dataclass
class Tally:
    """What came of every partition."""

    partitions: int = 0
    faults: list[str] = field(default_factory=list)
    slowest: Answer = field(default_factory=lambda: Answer("none", 200, 0.0))
    recovered_seconds: float = 0.0
    last: str = ""

    def figures(self) -> Iterator[Figure]:
        """How well requests were answered meanwhile, and how soon all went on."""
        print(f"   slowest answer: {self.slowest.request}; slowest to recover: {self.last}", *self.faults[:5], sep="\n      ", flush=True)
        yield Figure("partitions", self.partitions, at_least=1)
        yield Figure("answers without their code", len(self.faults), at_most=0)
        yield Figure("slowest answer in a partition", round(self.slowest.seconds, 1), ANSWER_SECONDS, unit="s")
        yield Figure("slowest to work again", round(self.recovered_seconds, 1), _RECOVERY_SECONDS, unit="s")


def run(options: Options) -> Sequence[Figure]:
    """Every kind of partition on every edge under load; on Postgres also lost replies to COMMIT; then the verdict."""
    tally = Tally()
    with open_wires() as wires, _trial(options, wires) as trial:
        edges = [f"{caller}-{callee}" for caller, callee in (_EDGES if options.long else _SHORT)]
        edges += [edge for edge in wires.proxies if edge.endswith("-postgres")]
        breaks = list(_BREAKS) if options.long else _SHORT_BREAKS
        cases = [(edge, kind) for edge in edges for kind in breaks]
        random.Random(options.seed).shuffle(cases)
        with trial.load(clients=2).running():
            for edge, kind in cases[: options.amount(len(cases), len(cases))]:
                _break(trial, wires, edge, kind, tally)
            lost = _lose_replies(options, wires) if options.database == "postgresql" else []
        verdict = conclude(trial, time.monotonic())
    return [*tally.figures(), *lost, *verdict.figures()]


def _break(trial: Trial, wires: Wires, edge: str, kind: str, tally: Tally) -> None:
    """One partition, with requests meanwhile, and the time until a job is done again."""
    probe = Probe(trial.world.mesh, trial.recorder)
    with _asking(probe, trial, tally):
        _BREAKS[kind](wires, edge)
        healed = time.monotonic()
    _works(trial, probe, f"{edge}, {kind}")
    seconds = time.monotonic() - healed
    tally.partitions += 1
    if seconds > tally.recovered_seconds:
        tally.recovered_seconds, tally.last = seconds, f"{edge}, {kind}"


@contextmanager
def _asking(probe: Probe, trial: Trial, tally: Tally) -> Iterator[None]:
    """Within, a submit and a listing are under way; afterwards both have been answered."""
    with ThreadPoolExecutor(2, "asking") as threads:
        submitting = threads.submit(probe.submit, trial.sounds.silence, f"cut:{new_id()}")
        listing = threads.submit(probe.ask, "GET", "/api/v1/jobs")
        yield
        for answer in (submitting.result(), listing.result()):
            tally.faults += coded_faults(answer, _ANSWERS)
            tally.slowest = max(tally.slowest, answer, key=lambda each: each.seconds)


def _works(trial: Trial, probe: Probe, after: str) -> None:
    """Until the mesh takes a job and does it."""
    key = f"healed:{new_id()}"
    told = f"a job to be accepted after {after}"
    job_id = wait_for(lambda: probe.submit(trial.sounds.silence, key).job_id or None, _PATIENCE_SECONDS, told)
    wait_for(lambda: _is_done(probe, job_id), _PATIENCE_SECONDS, f"job {job_id} to be done after {after}", every=0.2)


def _is_done(probe: Probe, job_id: str) -> bool:
    return probe.ask("GET", f"/api/v1/jobs/{job_id}").body.get("status") == "done"


def _lost(wires: Wires) -> int:
    return sum(proxy.lost_replies for proxy in wires.proxies.values())


def _lose_replies(options: Options, wires: Wires) -> Sequence[Figure]:
    """Lose what Postgres answers to some COMMITs of every service, while clients work and repeat."""
    wanted = _LOST_REPLIES_LONG if options.long else _LOST_REPLIES_SHORT
    chance = random.Random(options.seed)
    edges = [edge for edge in wires.proxies if edge.endswith("-postgres")]
    for edge in edges:
        wires.do(edge, lambda proxy: proxy.lose_replies(lambda data: b"COMMIT" in data and chance.random() < _LOSS_SHARE))
    wait_for(lambda: _lost(wires) >= wanted, _PATIENCE_SECONDS * 4, f"{wanted} replies to be lost", every=0.2)
    for edge in edges:
        wires.do(edge, lambda proxy: proxy.lose_replies(lambda data: False))
    return [Figure("replies to COMMIT lost", _lost(wires), at_least=wanted)]


@contextmanager
def _trial(options: Options, wires: Wires) -> Iterator[Trial]:
    """A mesh with a proxy on every edge."""
    folder = options.folder / "trial"
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        settings = dict(wire_services(wires, folder / "data", _EDGES))
        environment: dict[str, str] = dict(HURRIED)
        stores = embedded_stores(folder / "data")
        if options.database == "postgresql":
            url = new_postgres_database(stack.enter_context(postgres_server()))
            s3_url = stack.enter_context(s3_server())
            environment |= {**distributed_environment(url, s3_url), **wire_databases(wires, url, WITH_DATABASE)}
            stores = Stores(dict.fromkeys(WITH_DATABASE, url), s3_url)
        mesh = stack.enter_context(running_mesh(folder, environment, prefix=rewired(settings)))
        recorder = stack.enter_context(recording(folder / "history.jsonl"))
        yield Trial(options, folder, World(mesh, stores), recorder, make_sounds(options.folder / "sounds"))
