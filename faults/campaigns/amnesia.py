"""nats-server killed and its whole store deleted while jobs wait in it: each is handed out again within a minute."""

import random
import shutil
import signal
import threading
import time
from collections.abc import Sequence

from faults.campaign import Figure, Options
from faults.client import Client
from faults.rows import begun_or_ended, jobs_handed_out
from faults.trial import Trial, conclude, open_trial
from tests.e2e.mesh import wait_for

SHORT, LONG = 2, 20
_BATCH = 4
_LIMIT_SECONDS = 60.0
_PATIENCE_SECONDS = 180.0
# What a mesh has unless it is told otherwise: the minute is promised for that.
_USUAL = {"STENO_JOBS_LOST_DISPATCH_SECONDS": "5", "STENO_JOBS_SWEEP_INTERVAL_SECONDS": "2", "STENO_JOBS_STALE_DISPATCH_SECONDS": "300"}


def run(options: Options) -> Sequence[Figure]:
    """One wipe after another, each with jobs in the queue."""
    count = options.amount(SHORT, LONG)
    chance = random.Random(options.seed)
    waited: list[float] = []
    with open_trial(options, _USUAL) as trial:
        for number in range(count):
            waited.extend(_wipe(trial, number, chance.uniform(0.0, 1.5)))
        stopped = time.monotonic()
        verdict = conclude(trial, stopped)
    return [
        Figure("stores wiped", count, at_least=count),
        Figure("jobs in the wiped queues", len(waited), at_least=count),
        Figure("longest wait for the next hand", round(max(waited, default=0.0), 1), at_most=_LIMIT_SECONDS, unit="s"),
        *verdict.figures(),
    ]


def _wipe(trial: Trial, number: int, delay_seconds: float) -> Sequence[float]:
    """Seconds from the wipe until each job that had been handed out was taken, or had ended."""
    mesh, stores = trial.world.mesh, trial.world.stores
    client = Client(f"wipe-{number}", mesh, trial.recorder, threading.Event())
    for job in range(_BATCH):
        client.submit(trial.sounds.longer if job < 2 else trial.sounds.speech, f"wipe:{number}:{job}")
    wait_for(lambda: jobs_handed_out(stores), _PATIENCE_SECONDS, "jobs in the queue")
    client.pause(delay_seconds)
    client.close()
    # A stopped server writes nothing while its files go.
    pid = mesh.kill("nats", signal.SIGSTOP)
    shutil.rmtree(mesh.data / "events")
    lost = set(jobs_handed_out(stores))
    wiped = time.monotonic()
    mesh.kill("nats")
    wait_for(lambda: mesh.child_pid("nats") not in (None, pid), _PATIENCE_SECONDS, "nats-server to be back")
    waits: dict[str, float] = {}

    def all_taken() -> bool:
        for job_id in begun_or_ended(stores, lost):
            waits.setdefault(job_id, time.monotonic() - wiped)
        return waits.keys() == lost

    wait_for(all_taken, _PATIENCE_SECONDS, "lost jobs to be handed out again", every=0.2)
    wait_for(mesh.is_ready, _PATIENCE_SECONDS, "the mesh to be ready")
    return list(waits.values())
