"""A process dies at every crash point in turn, in the middle of the deed that leads past it; nothing is lost for it."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
import httpx2

from faults.campaign import Figure, Options
from faults.load import Mix
from faults.meshes import open_world
from faults.plans import plans_with
from faults.points import crash_points
from faults.sounds import make_sounds
from faults.tour.deeds import Tour, deed_for
from faults.tour.loop import running_loop
from faults.trial import Trial, conclude, open_trial
from services.mesh import fault
from services.mesh.errors import MeshError
from tests.billing.stripe_player import SECRET_KEY, WEBHOOK_SECRET, StripePlayer, stripe_player
from tests.e2e.mesh import Mesh, MeshEnded, wait_for
from tests.e2e.web import running_web
from tests.oidc import OidcIssuer, running_issuer

# The short form visits one in so many points, other ones with every seed.
_SHORT_SHARE = 28
LONG = 20
# Most visits wait for a lease or a sweep; in the long form more of them wait beside each other.
_LANES, _LONG_LANES = 3, 8
_START_LANES = 3
_REACH_SECONDS = 60.0
_RECOVERY_SECONDS = 60.0
_TRIES = 3
_WORTH_REPEATING = (502, 503)
# They are passed before a mesh is ready for anything else; the supervisor's own only where its next start finds the same databases.
_AT_START = ("migration.", "stack.")
_AT_START_OF = {"sqlite": _AT_START, "postgresql": ("migration.",)}
_OF_STORE = {"sqlite": "storage.object.", "postgresql": "storage.blob."}
_NEEDS_DIRECTORY = ("storage.sweep.",)
# A visitor whose deed a dying service breaks off comes again.
_BROKEN_OFF = (httpx2.TransportError, grpc.RpcError, MeshError, KeyError, ValueError, StopIteration, OSError)
_PLANS = {"nothing": 0, "minute": 1, "minutes": 5}
_SETTINGS = {
    # A service that dies every few seconds is started again at once; how long it is away is no part of what is shown here.
    "STENO_UP_RESTART_SECONDS": "0.1",
    "STENO_JOBS_UPLOAD_SECONDS": "15",
    # The tour works on its trainings itself.
    "STENO_INFERENCE_TRAINING_SLOTS": "0",
    "STENO_JOBS_TIDY_INTERVAL_SECONDS": "2",
    "STENO_JOBS_ORPHAN_MEDIA_INTERVAL_SECONDS": "2",
    "STENO_GATEWAY_EGRESS_ALLOWED_NETWORKS": "127.0.0.0/8",
    "STENO_BILLING_PAYMENT_PROVIDER": "stripe",
}


@dataclass
class Sweep:
    """How often each point has fired, and which are still to be visited."""

    waiting: list[str]
    fired: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    _visited: set[str] = field(default_factory=set, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def next(self) -> str | None:
        """The next point to visit that no other visitor is at; None when there is none."""
        with self._lock:
            point = next((point for point in self.waiting if point not in self._visited), None)
            if point is not None:
                self.waiting.remove(point)
                self._visited.add(point)
            return point

    def note(self, point: str, fired: bool) -> None:
        """A visit is over; a point that was not reached is visited again, at last, and not for ever."""
        with self._lock:
            self._visited.remove(point)
            (self.fired if fired else self.missed)[point] += 1
            if not fired and self.missed[point] < _TRIES:
                self.waiting.append(point)


def run(options: Options) -> Sequence[Figure]:
    """Several visitors, each arming one point at a time and doing what leads past it until a process has died there."""
    points, at_start = _chosen(options), _chosen_at_start(options)
    times = options.amount(1, LONG)
    began = time.monotonic()
    starts = _visit_starts(options, at_start * times)
    with _open_tours(options) as (trial, make_tour):
        sweep = Sweep([point for _ in range(times) for point in points])
        over, count = threading.Event(), _LONG_LANES if options.long else _LANES
        try:
            with trial.load(clients=1, mix=Mix(refused=0.0), pause_seconds=1.0).running(), ThreadPoolExecutor(count, "lane") as lanes:
                for lane in [lanes.submit(_visit_all, make_tour(f"lane-{number}", over), sweep) for number in range(count)]:
                    lane.result()
            make_tour("last", over).end_trainings()
        finally:
            over.set()
        stopped = time.monotonic()
        verdict = conclude(trial, stopped)
    points, fired = [*points, *at_start], sweep.fired + starts
    never = sorted(set(points) - set(fired))
    if never:
        print(f"   never fired: {', '.join(never)}", flush=True)
    return [
        Figure("crash points in the product", len({point.name for point in crash_points()})),
        Figure("crash points visited", len(points), at_least=1),
        Figure("processes that died at them", fired.total(), at_least=times * len(points)),
        Figure("crash points that never fired", len(never), at_most=0),
        Figure("minutes", round((stopped - began) / 60, 1)),
        *verdict.figures(),
    ]


def _chosen(options: Options) -> Sequence[str]:
    """The points that this kind of mesh passes once it runs, in an order of the seed."""
    left_out = (*_AT_START, _OF_STORE[options.database], *(_NEEDS_DIRECTORY if options.database == "postgresql" else ()))
    names = sorted({point.name for point in crash_points() if not point.name.startswith(left_out)})
    random.Random(options.seed).shuffle(names)
    return names if options.long or options.count is not None else names[: max(1, len(names) // _SHORT_SHARE)]


def _chosen_at_start(options: Options) -> list[str]:
    """The points of the first start, which the short form leaves out."""
    chosen = options.long or options.count is not None
    return sorted({point.name for point in crash_points() if point.name.startswith(_AT_START_OF[options.database])}) if chosen else []


def _visit_starts(options: Options, points: Sequence[str]) -> Counter[str]:
    """How often a process of a new mesh died at each of them."""
    silence = make_sounds(options.folder / "sounds").silence
    with ThreadPoolExecutor(_START_LANES, "start") as lanes:
        fired = lanes.map(partial(_visit_start, options, silence), range(len(points)), points)
        return Counter(point for point, died in zip(points, fired, strict=True) if died)


def _visit_start(options: Options, silence: Path, number: int, point: str) -> bool:
    """Whether a process of a new mesh died at the point; a job is done by the mesh that came up in spite of it."""
    folder, points = options.folder / f"start-{number}", options.folder / f"points-at-start-{number}"
    points.mkdir()
    (points / point).write_text("exit")
    for _ in range(_TRIES):
        # Where the supervisor itself dies, somebody starts it again.
        with suppress(MeshEnded), open_world(options.database, folder, {fault.VARIABLE: str(points)}) as world:
            job_id = wait_for(partial(_accepted, world.mesh, silence), _RECOVERY_SECONDS, f"a submit after {point}")
            if world.mesh.finished(job_id)["status"] != "done":
                raise AssertionError(f"job {job_id} did not end well after {point}")
            return not (points / point).exists()
    return False


def _accepted(mesh: Mesh, sound: Path) -> str | None:
    """The job's id; None where the answer says that repeating is safe, as long as the mesh settles."""
    response = mesh.submit(sound)
    if response.status_code in _WORTH_REPEATING:
        return None
    job_id: str = response.raise_for_status().json()["job_id"]
    return job_id


def _visit_all(tour: Tour, sweep: Sweep) -> None:
    while (point := sweep.next()) is not None:
        began = time.monotonic()
        fired = _visit(tour, point)
        sweep.note(point, fired)
        with (tour.trial.folder / "visits.log").open("a") as log:
            log.write(f"{time.time():.3f} {point} {'fired' if fired else 'missed'} after {time.monotonic() - began:.1f} s\n")
    tour.client.close()


def _visit(tour: Tour, point: str) -> bool:
    """Whether a process died at the point; the mesh is ready again afterwards."""
    armed = tour.fault_folder / point
    armed.write_text("exit")
    until, deed = time.monotonic() + _REACH_SECONDS, deed_for(point)
    while armed.exists() and time.monotonic() < until:
        with suppress(*_BROKEN_OFF):
            deed(tour)
    fired = not armed.exists()
    armed.unlink(missing_ok=True)
    wait_for(tour.trial.world.mesh.is_ready, _RECOVERY_SECONDS, f"the mesh to recover from {point}")
    return fired


@contextmanager
def _open_tours(options: Options) -> Iterator[tuple[Trial, Callable[[str, threading.Event], Tour]]]:
    """A mesh with all that its deeds need around it."""
    folder = options.folder / "points"
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        web, stripe = stack.enter_context(running_web()), stack.enter_context(stripe_player())
        issuer, loop = stack.enter_context(running_issuer("ES256")), stack.enter_context(running_loop())
        environment = {**_SETTINGS, **_files(options.folder, issuer, stripe), fault.VARIABLE: str(folder)}
        trial = stack.enter_context(open_trial(options, environment))
        app = trial.world.mesh.client.post("/api/v1/auth/api-keys", json={"name": "app", "kind": "app"}).raise_for_status().json()

        def make(name: str, over: threading.Event) -> Tour:
            return Tour(trial, name, web, issuer, stripe, app["key"], folder, over, loop)

        yield trial, make


def _files(folder: Path, issuer: OidcIssuer, stripe: StripePlayer) -> dict[str, str]:
    """Settings that are files: plans with little credit, whom to trust, and the payment provider's secrets."""
    contents = {
        "STENO_BILLING_PLANS_FILE": plans_with(_PLANS),
        "STENO_GATEWAY_OIDC_ISSUERS_FILE": f'[[issuer]]\nissuer = "{issuer.url}"\naudiences = ["steno"]\nallow_plain_http = true\n',
        "STENO_BILLING_STRIPE_SECRET_KEY_FILE": SECRET_KEY,
        "STENO_BILLING_STRIPE_WEBHOOK_SECRET_FILE": WEBHOOK_SECRET,
    }
    for name, content in contents.items():
        (folder / name.lower()).touch(mode=0o600)
        (folder / name.lower()).write_text(content)
    return {**{name: str(folder / name.lower()) for name in contents}, "STENO_BILLING_STRIPE_URL": stripe.url}
