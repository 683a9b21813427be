"""A full disk at every store in turn: refused with the right code, nothing lost, and well again by itself once there is room."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from faults.campaign import Figure, Options, Skipped
from faults.history import recording
from faults.images import fill, memory_disk
from faults.meshes import HURRIED, Stores, World
from faults.probes import Probe, coded_faults
from faults.sounds import make_sounds
from faults.trial import Trial, conclude
from services.mesh.ids import new_id
from tests.e2e.mesh import Mesh, running_mesh, wait_for

_DATABASES = ("jobs", "billing", "storage")
_FOLDERS = ("events", "blobs", "scratch")
_SHORT = ("events",)
_DISK_MEBIBYTES = 64
_FULL_SECONDS = 12.0
_RECOVERY_SECONDS = 60.0
_READY_SECONDS = 10.0
_PATIENCE_SECONDS = 240.0
_SUBMITS = 5
_CHILDREN = ("billing", "storage", "jobs", "inference", "gateway")
# Of these the mesh says that it is not ready: without the others it takes jobs, and they wait.
_NEEDED = ("jobs", "billing", "storage", "blobs")
_ENVIRONMENT = {**HURRIED, "STENO_STORAGE_RESERVE_BYTES": str(4 * 1024**2), "STENO_INFERENCE_MIN_FREE_BYTES": str(4 * 1024**2)}


@dataclass
class Outcome:
    """What happened to one full store. seconds: until it was noticed and until all was well again."""

    store: str
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_answer_seconds: float = 0.0
    noticed_seconds: float | None = None
    recovered_seconds: float = 0.0


def run(options: Options) -> Sequence[Figure]:
    """Fill each store's disk, look, free it, look again; then the verdict over all jobs. Skipped where disks cannot be mounted."""
    if options.database != "sqlite":
        raise Skipped("the stores of the distributed mesh are other servers' disks")
    stores = (*_DATABASES, *_FOLDERS) if options.long else _SHORT
    with _world(options.folder / "mesh") as (world, disks), recording(options.folder / "mesh" / "history.jsonl") as recorder:
        trial = Trial(options, options.folder / "mesh", world, recorder, make_sounds(options.folder / "sounds"))
        before = _children(world.mesh)
        with trial.load(clients=1).running():
            outcomes = [_fill_and_free(trial, store, disks[store]) for store in stores]
        verdict = conclude(trial, time.monotonic())
        died = [name for name, pid in _children(world.mesh).items() if pid != before[name]]
    return [*_figures(outcomes), Figure("services that died", len(died), at_most=0), *verdict.figures()]


def _figures(outcomes: Sequence[Outcome]) -> Iterator[Figure]:
    for outcome in outcomes:
        told = ", ".join(f"{count} x {status}" for status, count in sorted(outcome.statuses.items()))
        print(f"   {outcome.store} full: submits answered {told}", *outcome.faults[:3], sep="\n      ", flush=True)
        yield Figure(f"{outcome.store} full: answers without their code", len(outcome.faults), at_most=0)
        yield Figure(f"{outcome.store} full: slowest answer", round(outcome.slowest_answer_seconds, 1), at_most=15, unit="s")
        if outcome.noticed_seconds is not None:
            yield Figure(f"{outcome.store} full: until /readyz said so", round(outcome.noticed_seconds, 1), _READY_SECONDS, unit="s")
        yield Figure(f"{outcome.store} full: recovered after", round(outcome.recovered_seconds, 1), _RECOVERY_SECONDS, unit="s")


def _fill_and_free(trial: Trial, store: str, disk: Path) -> Outcome:
    """One store's disk, full for a while and then free."""
    outcome = Outcome(store)
    filler = fill(disk)
    _look(trial, outcome, time.monotonic())
    freed = time.monotonic()
    filler.unlink()
    wait_for(lambda: _works(trial), _PATIENCE_SECONDS, f"the mesh to recover from a full disk of {store}", every=0.2)
    outcome.recovered_seconds = time.monotonic() - freed
    return outcome


def _look(trial: Trial, outcome: Outcome, began: float) -> None:
    """Submit now and then while the disk is full, and watch whether the mesh says that it is ready."""
    probe = Probe(trial.world.mesh, trial.recorder)
    with ThreadPoolExecutor(1, "readiness") as watcher:
        watching = watcher.submit(_unready_after, trial.world.mesh, began) if outcome.store in _NEEDED else None
        for number in range(_SUBMITS):
            answer = probe.submit(trial.sounds.silence, f"{outcome.store}-full:{number}")
            outcome.statuses[answer.status] += 1
            outcome.faults += coded_faults(answer, allowed={200, 202, 502, 503})
            outcome.slowest_answer_seconds = max(outcome.slowest_answer_seconds, answer.seconds)
            time.sleep(max(0.0, began + _FULL_SECONDS * (number + 1) / _SUBMITS - time.monotonic()))
        outcome.noticed_seconds = watching.result() if watching is not None else None


def _unready_after(mesh: Mesh, began: float) -> float:
    """Seconds until /readyz said no."""
    with mesh.client_for("") as client:
        wait_for(lambda: not client.get("/readyz").is_success, _PATIENCE_SECONDS, "/readyz to tell of a full disk")
    return time.monotonic() - began


def _works(trial: Trial) -> bool:
    """Whether the mesh is ready, takes a job, and does it."""
    if not trial.world.mesh.is_ready():
        return False
    probe = Probe(trial.world.mesh, trial.recorder)
    answer = probe.submit(trial.sounds.silence, f"works:{new_id()}")
    if not answer.job_id:
        return False
    return bool(trial.world.mesh.finished(answer.job_id, _PATIENCE_SECONDS)["status"] == "done")


def _children(mesh: Mesh) -> Mapping[str, int | None]:
    return {name: mesh.child_pid(name) for name in _CHILDREN}


@contextmanager
def _world(folder: Path) -> Iterator[tuple[World, Mapping[str, Path]]]:
    """A mesh each of whose stores is on a small disk of its own, and the disks by store."""
    with ExitStack() as stack:
        places = {name: folder / "databases" / name for name in _DATABASES} | {name: folder / "data" / name for name in _FOLDERS}
        disks = {name: stack.enter_context(memory_disk(place, _DISK_MEBIBYTES)) for name, place in places.items()}
        files = {name: disks[name] / f"{name}.db" for name in _DATABASES}
        urls = {f"STENO_{name.upper()}_DATABASE_URL": f"sqlite+aiosqlite:///{file}" for name, file in files.items()}
        mesh = stack.enter_context(running_mesh(folder, {**_ENVIRONMENT, **urls}))
        yield World(mesh, Stores({name: f"sqlite:///{file}" for name, file in files.items()}, disks["blobs"])), disks
