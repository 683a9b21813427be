"""One trial of a mesh: load and faults, then rest, then the verdict; what is found broken is kept with its history and logs."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from faults.campaign import Figure, Options
from faults.checker import money, stored
from faults.checker.evidence import Evidence, Violation, ask, write_answers
from faults.checker.verdict import judge
from faults.history import Recorder, read_history, recording
from faults.load import Load, Mix
from faults.meshes import World, open_world
from faults.snapshot import pending, read_snapshot
from faults.sounds import Sounds, make_sounds

LIVENESS_SECONDS = 60.0
# What is not at rest by then is stuck; between the two it was slow, and the figure says how slow.
_PATIENCE_SECONDS = 240.0
_SWEEP_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_AGED_SECONDS = 10_000
_TOLD = 5


@dataclass(frozen=True)
class Trial:
    """A running mesh, where its history is written, and what its clients send."""

    options: Options
    folder: Path
    world: World
    recorder: Recorder
    sounds: Sounds

    def load(
        self,
        clients: int = 4,
        mix: Mix | None = None,
        pause_seconds: float = 0.1,
        look_seconds: float = 0.5,
        follow_seconds: float = 300.0,
    ) -> Load:
        """Clients of this mesh, whose choices come from the seed."""
        seed = self.options.seed
        return Load(self.world.mesh, self.recorder, self.sounds, seed, clients, mix or Mix(), pause_seconds, look_seconds, follow_seconds)


@dataclass(frozen=True)
class Verdict:
    """What came of a trial. rest_seconds: from the last fault until nothing was left to do."""

    evidence: Evidence
    violations: Sequence[Violation]
    rest_seconds: float

    @property
    def accepted(self) -> int:
        """Jobs that were promised."""
        return len({job_id for ids in self.evidence.history.accepted().values() for job_id in ids})

    def of(self, *invariants: str) -> int:
        """For how many subjects these promises were broken."""
        return len({violation.subject for violation in self.violations if violation.invariant in invariants})

    def figures(self) -> Sequence[Figure]:
        """What every campaign tells."""
        return [
            Figure("jobs accepted", self.accepted, at_least=1),
            Figure("accepted jobs lost", self.of("I-1"), at_most=0),
            Figure("jobs settled twice", len(money.settled_twice(self.evidence)), at_most=0),
            Figure("jobs stuck", self.of("I-3"), at_most=0),
            Figure("sum over the ledger", money.ledger_sum_ms(self.evidence), at_most=0, unit="ms"),
            Figure("broken promises in all", len(self.violations), at_most=0),
            Figure("from the last fault to rest", round(self.rest_seconds, 1), at_most=LIVENESS_SECONDS, unit="s"),
            Figure("blobs left to the sweep", len(stored.unspoken_blobs(self.evidence))),
            Figure("transcripts that no job points at", len(stored.unspoken_transcripts(self.evidence))),
        ]


@contextmanager
def open_trial(options: Options, environment: Mapping[str, str] | None = None) -> Iterator[Trial]:
    """A mesh of the kind that was asked for, and a history; where a promise breaks inside, the folder is kept."""
    folder = options.folder / "trial"
    sounds = make_sounds(options.folder / "sounds")
    try:
        with open_world(options.database, folder, environment) as world, recording(folder / "history.jsonl") as recorder:
            yield Trial(options, folder, world, recorder, sounds)
    except BaseException:
        print(f"   kept: {keep(folder, options)}", flush=True)
        raise


def conclude(trial: Trial, stopped: float) -> Verdict:
    """Wait for rest, then judge. stopped: when the faults did, by time.monotonic(). What is broken is printed and kept."""
    rest_seconds = _rest(trial, stopped)
    _sweep(trial)
    evidence = _evidence(trial)
    verdict = Verdict(evidence, judge(evidence), rest_seconds)
    if verdict.violations or rest_seconds > LIVENESS_SECONDS:
        for violation in verdict.violations[:_TOLD]:
            print(f"   {violation}", flush=True)
        print(f"   kept: {keep(trial.folder, trial.options, verdict)}", flush=True)
    return verdict


def _rest(trial: Trial, stopped: float) -> float:
    """Seconds until everything was done and ready; no longer than patience lasts."""
    while time.monotonic() - stopped < _PATIENCE_SECONDS:
        if _is_ready(trial) and not pending(trial.world.stores):
            break
        time.sleep(_LOOK_SECONDS)
    else:
        print(f"   not at rest: {', '.join(pending(trial.world.stores)) or 'not ready'}", flush=True)
    return time.monotonic() - stopped


def _is_ready(trial: Trial) -> bool:
    try:
        return trial.world.mesh.is_ready()
    except httpx2.TransportError:
        return False


def _sweep(trial: Trial) -> None:
    """Make every blob old enough for storage's sweep, and wait for it; a bucket's objects cannot be made older."""
    blobs = trial.world.stores.blobs
    if not isinstance(blobs, Path):
        return
    for path in (blobs / "objects").glob("*/*"):
        then = path.stat().st_mtime - _AGED_SECONDS
        os.utime(path, (then, then))
    until = time.monotonic() + _SWEEP_SECONDS
    while stored.unspoken_blobs(_evidence(trial, asking=False)) and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)


def _evidence(trial: Trial, *, asking: bool = True) -> Evidence:
    history = read_history(trial.folder / "history.jsonl")
    ids = {job_id for job_ids in history.accepted().values() for job_id in job_ids}
    answers = ask(trial.world.mesh, ids) if asking else {}
    return Evidence(
        history, answers, read_snapshot(trial.world.stores), time.time() - _AGED_SECONDS / 2, str(trial.world.mesh.ready["workspace_id"])
    )


def keep(folder: Path, options: Options, verdict: Verdict | None = None) -> Path:
    """Copy a trial to where it outlives the run, with its rows and its verdict; answers where."""
    kept = Path(tempfile.mkdtemp(prefix=f"steno-kept-{options.database}-seed{options.seed}-"))
    shutil.copytree(
        folder, kept / "trial", dirs_exist_ok=True, ignore=shutil.ignore_patterns("events", "keys"), ignore_dangling_symlinks=True
    )
    if verdict is not None:
        (kept / "violations.txt").write_text("\n".join(map(str, verdict.violations)))
        (kept / "rows.json").write_text(json.dumps(verdict.evidence.snapshot.rows, default=repr))
        write_answers(kept / "answers.json", verdict.evidence.answers)
    return kept
