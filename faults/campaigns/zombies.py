"""A worker is stopped beyond its lease, another takes its jobs, the first goes on: whatever it writes late is refused."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from faults.campaign import Figure, Options
from faults.load import Mix
from faults.rows import jobs_begun, taken_over
from faults.trial import Trial, conclude, open_trial
from services.mesh import fault
from tests.e2e.mesh import wait_for

SHORT, LONG = 4, 200
_PATIENCE_SECONDS = 120.0
_LEASE_SECONDS = 4.0
# The moments before a worker's writes: stopped there, its first act as a zombie is to write.
_POINTS = (
    "inference.event.before_publish",
    "inference.window.before_put",
    "inference.artefact.after_put",
    "inference.artefact.after_announce",
    "inference.result.after_artefact",
    "inference.work.after_decode",
)
_CLIENTS = 20
# Most recordings are silent: a stopped worker holds as many jobs, and the other is not kept from its leases by speech.
_MIX = Mix(silent=0.8, cancelled=0.05)
_SETTINGS = {"STENO_INFERENCE_JOB_SLOTS": "8", "STENO_JOBS_LEASE_SECONDS": str(_LEASE_SECONDS)}
_OUTLASTED_SECONDS = 1.5 * _LEASE_SECONDS
_SETTLING_SECONDS = 0.5
_REFUSED = "its lease is lost"


def run(options: Options) -> Sequence[Figure]:
    """Stops of either of two workers, in the middle of their work, until so many jobs were taken over."""
    count = options.amount(SHORT, LONG)
    folder = options.folder / "points"
    folder.mkdir(parents=True)
    chance, zombies, stops = random.Random(options.seed), 0, 0
    with open_trial(options, {**_SETTINGS, fault.VARIABLE: str(folder)}) as trial, _two_workers(trial) as logs:
        with trial.load(clients=_CLIENTS, mix=_MIX, look_seconds=2.0).running():
            while zombies < count:
                zombies += _stop_one(trial, folder, chance.choice(_POINTS), logs)
                stops += 1
        stopped = time.monotonic()
        verdict = conclude(trial, stopped)
    return [
        Figure("works of stopped workers that were refused", zombies, at_least=count),
        Figure("stops", stops),
        *verdict.figures(),
    ]


def _stop_one(trial: Trial, folder: Path, point: str, logs: Mapping[int, Path]) -> int:
    """Stop whichever worker comes by the point, and let it go on once another has taken a job of its; how many it found lost."""
    (folder / point).write_text("stop")
    taken = wait_for(lambda: next(folder.glob(f"{point}.*"), None), _PATIENCE_SECONDS, f"a worker at {point}")
    pid = int(taken.name.removeprefix(f"{point}.").split(".")[0])
    wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, _PATIENCE_SECONDS, "the worker to stop")
    stopped, before = time.monotonic(), jobs_begun(trial.world.stores)

    def outlasted() -> bool:
        return time.monotonic() - stopped > _OUTLASTED_SECONDS and bool(taken_over(trial.world.stores, before))

    try:
        wait_for(outlasted, _PATIENCE_SECONDS, "a job of the stopped worker to be taken over", every=0.2)
        known = _refusals(logs[pid])
    finally:
        os.kill(pid, signal.SIGCONT)
        taken.unlink()
    wait_for(lambda: _refusals(logs[pid]) > known, _PATIENCE_SECONDS, "the stopped worker to find its leases lost")
    time.sleep(_SETTLING_SECONDS)
    return _refusals(logs[pid]) - known


def _refusals(log: Path) -> int:
    """How many works a worker has dropped because another had taken the job."""
    return log.read_text(errors="replace").count(_REFUSED)


@contextmanager
def _two_workers(trial: Trial) -> Iterator[Mapping[int, Path]]:
    """Another inference process of the same mesh; yields the logs of both by process id."""
    pid = wait_for(lambda: trial.world.mesh.child_pid("inference"), _PATIENCE_SECONDS, "the first worker")
    scratch = {"STENO_INFERENCE_PORT": "0", "STENO_INFERENCE_SCRATCH_DIRECTORY": str(trial.folder / "scratch")}
    path = trial.folder / "second-inference.log"
    with path.open("ab") as log:
        environment = {**psutil.Process(pid).environ(), **scratch}
        process = subprocess.Popen([sys.executable, "-P", "-m", "services.inference"], stdout=log, stderr=log, env=environment)
    try:
        yield {pid: trial.world.mesh.data / "logs" / "inference.log", process.pid: path}
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(timeout=_PATIENCE_SECONDS)
