"""Clocks of single services stepped by an hour and a day: no audio goes early, no work is taken over early, nothing is charged twice."""

import random
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from faults.campaign import Figure, Options
from faults.checker.evidence import DONE
from faults.clocks import Clocks, make_clocks
from faults.history import recording
from faults.load import Mix
from faults.meshes import HURRIED, WITH_DATABASE, Stores, World, distributed_environment, embedded_stores, s3_server
from faults.plans import packaged_plans
from faults.sounds import make_sounds
from faults.trial import Trial, Verdict, conclude
from faults.wires import rewired
from tests.e2e.mesh import running_mesh, wait_for
from tests.servers import new_postgres_database, postgres_server

SERVICES = ("jobs", "billing", "storage", "inference", "gateway")
_STEPS = (timedelta(days=1), timedelta(hours=1), -timedelta(hours=1), -timedelta(days=1))
_SHORT = (("jobs", _STEPS[0]), ("jobs", _STEPS[3]))
_WRONG_SECONDS = 6.0
_RIGHT_SECONDS = 3.0
_JOBS_BEFORE = 2
_PATIENCE_SECONDS = 240.0
# Longer than a busy machine keeps a worker from renewing: what is taken over all the same was taken over for its clock.
_LEASE_SECONDS = "60"


def run(options: Options) -> Sequence[Figure]:
    """Step one clock after the other under load, put each right again, then the verdict. Skipped where `make_clocks` is."""
    cases = [(service, step) for service in SERVICES for step in _STEPS] if options.long else list(_SHORT)
    random.Random(options.seed).shuffle(cases)
    clocks = make_clocks(options.folder / "clocks", SERVICES)
    with _trial(options, clocks) as trial:
        with trial.load(clients=2, mix=Mix(removed=0.0, cancelled=0.0)).running() as tally:
            wait_for(lambda: tally.ended >= _JOBS_BEFORE, _PATIENCE_SECONDS, "jobs whose audio is kept")
            for service, step in cases:
                _step(clocks, service, step)
        verdict = conclude(trial, time.monotonic())
        figures = [*_early(trial, verdict), *verdict.figures()]
    return [Figure("clock steps", len(cases), at_least=1), *figures]


def _step(clocks: Clocks, service: str, by: timedelta) -> None:
    """Wrong for a while, then right again."""
    clocks.set(service, by)
    time.sleep(_WRONG_SECONDS)
    clocks.set(service, timedelta(0))
    time.sleep(_RIGHT_SECONDS)


def _early(trial: Trial, verdict: Verdict) -> Iterator[Figure]:
    """Jobs that are done, whose audio is to be kept for a day, and that one worker did from its beginning to its end."""
    snapshot = verdict.evidence.snapshot
    media = {row["id"]: row["state"] for row in snapshot.table("storage.media")}
    done = [row for row in snapshot.table("jobs.job") if row["state"] == DONE and row["delete_time"] is None]
    asked = {call.job_id: call.began for call in verdict.evidence.history.calls if call.is_accepted_submit}
    dated_back = [row for row in done if row["complete_time"] < asked.get(row["id"], 0.0)]
    gone = [row for row in done if row["removal_time"] is None or media.get(row["media_id"]) != "ready"]
    # SQLite has no clock but that of jobs itself: set forward, it ends leases.
    most_early = 0 if trial.options.database == "postgresql" else None
    yield Figure("jobs with audio to keep", len(done), at_least=1)
    yield Figure("audio removed early", len(gone), at_most=0)
    yield Figure("ends dated back by a clock that was set back", len(dated_back), at_most=0)
    yield Figure("work taken over early", sum(row["attempt"] > 1 for row in done), at_most=most_early)


@contextmanager
def _trial(options: Options, clocks: Clocks) -> Iterator[Trial]:
    """A mesh whose services have clocks of their own, and whose plans keep audio for a day."""
    folder = options.folder / "trial"
    folder.mkdir(parents=True)
    (folder / "plans.toml").write_text(re.sub(r"(?m)^retention_days = [0-9]+$", "retention_days = 1", packaged_plans()))
    tuned = {"STENO_BILLING_PLANS_FILE": str(folder / "plans.toml"), "STENO_JOBS_LEASE_SECONDS": _LEASE_SECONDS}
    with ExitStack() as stack:
        environment: dict[str, str] = {**HURRIED, **tuned}
        stores = embedded_stores(folder / "data")
        if options.database == "postgresql":
            url = new_postgres_database(stack.enter_context(postgres_server()))
            s3_url = stack.enter_context(s3_server())
            environment |= distributed_environment(url, s3_url)
            stores = Stores(dict.fromkeys(WITH_DATABASE, url), s3_url)
        prefix = [*rewired({}), "--python", str(clocks.interpreter)]
        mesh = stack.enter_context(running_mesh(folder, environment, prefix=prefix))
        recorder = stack.enter_context(recording(folder / "history.jsonl"))
        yield Trial(options, folder, World(mesh, stores), recorder, make_sounds(options.folder / "sounds"))
