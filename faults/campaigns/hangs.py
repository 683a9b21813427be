"""Every dependency stopped in turn: every request gets its coded answer within 15 s, /readyz says so, and all goes on afterwards."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg

from faults.campaign import Figure, Options
from faults.checker.evidence import QUEUED
from faults.probes import Answer, Probe, coded_faults
from faults.snapshot import read_table
from faults.trial import Trial, conclude, open_trial
from services.mesh.ids import new_id
from tests.e2e.mesh import Mesh, wait_for

ANSWER_SECONDS = 15.0
_READY_SECONDS = 10.0
_RECOVERY_SECONDS = 60.0
_PATIENCE_SECONDS = 240.0
_SHORT = ("storage",)
_EMBEDDED = ("billing", "storage", "jobs", "inference", "nats")
_DISTRIBUTED = ("postgres", "s3")
# Without these the mesh takes jobs, which wait: /readyz names them and stays ready.
_NOT_NEEDED = ("inference", "nats")
_SHORT_ROUNDS, _LONG_ROUNDS = 1, 2
# An answer that was late in one round is not to hide in the next.
_BETWEEN_SECONDS = 3.0
_ANSWERS = frozenset({200, 202, 204, 404, 502, 503})


@dataclass
class Outcome:
    """What a stopped dependency did to requests."""

    edge: str
    answers: list[Answer] = field(default_factory=list)
    noticed_seconds: float = 0.0
    recovered_seconds: float = 0.0

    def figures(self) -> Iterator[Figure]:
        """How fast and how well it was answered."""
        slowest = max(self.answers, key=lambda answer: answer.seconds)
        faults = [fault for answer in self.answers for fault in coded_faults(answer, _ANSWERS)]
        statuses = sorted({answer.status for answer in self.answers})
        print(f"   {self.edge} stopped: answers {statuses}, slowest {slowest.request}", *faults[:3], sep="\n      ", flush=True)
        yield Figure(f"{self.edge} stopped: answers without their code", len(faults), at_most=0)
        yield Figure(f"{self.edge} stopped: slowest of {len(self.answers)} answers", round(slowest.seconds, 1), ANSWER_SECONDS, unit="s")
        yield Figure(f"{self.edge} stopped: until /readyz said so", round(self.noticed_seconds, 1), _READY_SECONDS, unit="s")
        yield Figure(f"{self.edge} stopped: recovered after", round(self.recovered_seconds, 1), _RECOVERY_SECONDS, unit="s")


def run(options: Options) -> Sequence[Figure]:
    """Each edge of one mesh, one after the other, then the verdict over all its jobs."""
    edges = _EMBEDDED if options.long else _SHORT
    edges = (*edges, *_DISTRIBUTED) if options.database == "postgresql" else edges
    with open_trial(options) as trial:
        outcomes = [_stop(trial, edge, _LONG_ROUNDS if options.long else _SHORT_ROUNDS) for edge in edges]
        verdict = conclude(trial, time.monotonic())
    return [*(figure for outcome in outcomes for figure in outcome.figures()), *verdict.figures()]


def _stop(trial: Trial, edge: str, rounds: int) -> Outcome:
    outcome, probe = Outcome(edge), Probe(trial.world.mesh, trial.recorder)
    done = _finished_job(trial, probe)
    with stopped(_processes(trial, edge)):
        began = time.monotonic()
        with ThreadPoolExecutor(1, "readiness") as watcher:
            watching = watcher.submit(wait_for, lambda: _says_so(trial.world.mesh, edge), _PATIENCE_SECONDS, f"/readyz to tell of {edge}")
            watching.add_done_callback(lambda _: setattr(outcome, "noticed_seconds", time.monotonic() - began))
            for _ in range(rounds):
                outcome.answers += _ask_everything(trial, probe, done)
                time.sleep(_BETWEEN_SECONDS)
            watching.result()
    freed = time.monotonic()
    _finished_job(trial, probe)
    outcome.recovered_seconds = time.monotonic() - freed
    _forget_announced(trial, probe)
    return outcome


def _finished_job(trial: Trial, probe: Probe) -> str:
    """A new job that is done, repeated until the mesh takes it."""
    key = f"after:{new_id()}"
    job_id = wait_for(lambda: probe.submit(trial.sounds.speech, key).job_id or None, _PATIENCE_SECONDS, "a job to be accepted", every=0.2)
    wait_for(lambda: probe.ask("GET", f"/api/v1/jobs/{job_id}").body.get("status") == "done", _PATIENCE_SECONDS, f"job {job_id} to be done")
    return job_id


def _forget_announced(trial: Trial, probe: Probe) -> None:
    """Cancel what was announced and will never come, also where the answer was late and nobody heard of the job."""
    for row in read_table(trial.world.stores, "jobs", "job"):
        if row["state"] == QUEUED and row["waiting"]:
            wait_for(partial(_is_deleted, probe, row["id"]), _PATIENCE_SECONDS, "a job to be cancelled")


def _is_deleted(probe: Probe, job_id: str) -> bool:
    return probe.delete(job_id).status in (204, 404)


def _ask_everything(trial: Trial, probe: Probe, done: str) -> Sequence[Answer]:
    """Every kind of request at once."""
    asking: Mapping[str, Callable[[], Answer]] = {
        "submit": lambda: probe.submit(trial.sounds.silence, f"hang:{new_id()}"),
        "announce": lambda: probe.announce(f"announced:{new_id()}"),
        **{path: _get(probe, path) for path in _paths(done)},
    }
    with ThreadPoolExecutor(len(asking), "asking") as threads:
        return [asked.result() for asked in [threads.submit(ask) for ask in asking.values()]]


def _paths(done: str) -> Sequence[str]:
    of_job = [f"/api/v1/jobs/{done}{what}" for what in ("", "/result", "/result?format=srt", "/audio/url")]
    return ["/api/v1/jobs", "/api/v1/me", "/api/v1/credits", "/api/v1/usage", *of_job]


def _get(probe: Probe, path: str) -> Callable[[], Answer]:
    return lambda: probe.ask("GET", path)


def _says_so(mesh: Mesh, edge: str) -> bool:
    """Whether /readyz tells of the stopped edge."""
    answer = mesh.client.get("/readyz")
    return _state(answer.json(), edge) == "down" if edge in _NOT_NEEDED else not answer.is_success


def _state(report: Mapping[str, Any], edge: str) -> str:
    return str(report.get("dependencies", {}).get(edge, {}).get("state", ""))


def _processes(trial: Trial, edge: str) -> Sequence[psutil.Process]:
    """The processes that are this dependency. Raises AssertionError when there is none."""
    if edge == "postgres":
        return _postgres(trial.world.stores.databases["jobs"])
    if edge == "s3":
        return [process for process in psutil.Process().children() if any(Path(part).name == "moto_server" for part in process.cmdline())]
    pid = trial.world.mesh.child_pid(edge)
    assert pid is not None, f"{edge} does not run"
    return [psutil.Process(pid)]


def _postgres(url: str) -> Sequence[psutil.Process]:
    """The postmaster and everything that it started."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        postmaster = psutil.Process(row[0]).parent() if row else None
    assert postmaster is not None
    return [postmaster, *postmaster.children()]


@contextmanager
def stopped(processes: Sequence[psutil.Process]) -> Iterator[None]:
    """SIGSTOP, and SIGCONT when the block ends; a process that ended meanwhile is left alone."""
    assert processes, "nothing to stop"
    running = [process for process in processes if process.is_running()]
    for process in running:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in running:
            if process.is_running():
                process.send_signal(signal.SIGCONT)
