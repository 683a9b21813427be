"""The checker is checked: an honest run passes, and every promise broken behind the mesh's back is found."""

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from faults.campaign import Options
from faults.checker import money
from faults.checker.evidence import Evidence, read_answers, write_answers
from faults.checker.verdict import CHECKS, judge
from faults.client import Client
from faults.history import read_history
from faults.meshes import embedded_stores
from faults.snapshot import read_snapshot
from faults.trial import Trial, conclude, open_trial

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Copy:
    """What an honest run left, to be tampered with."""

    folder: Path
    workspace_id: str

    @property
    def history(self) -> Path:
        return self.folder / "history.jsonl"

    def change(self, service: str, statement: str) -> None:
        """Change rows as no service could: their triggers are dropped first. Each statement must change exactly one."""
        with closing(sqlite3.connect(self.folder / "data" / "databases" / f"{service}.db")) as connection, connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            assert connection.execute(statement).rowcount == 1, statement

    def note(self, **events: Mapping[str, Any]) -> None:
        """Add a call to the history."""
        with self.history.open("a") as file:
            for kind, event in events.items():
                file.write(json.dumps({"event": kind, **event}) + "\n")

    def evidence(self) -> Evidence:
        snapshot = read_snapshot(embedded_stores(self.folder / "data"))
        return Evidence(
            read_history(self.history), read_answers(self.folder / "answers.json"), snapshot, time.time() + 60, self.workspace_id
        )

    def broken(self) -> set[str]:
        """The promises that the checker says are broken."""
        return {violation.invariant for violation in judge(self.evidence())}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A run in which nothing went wrong: one job with words, one without, one cancelled, one refused."""
    folder = tmp_path_factory.mktemp("honest")
    with open_trial(Options(folder)) as trial:
        _visit(trial)
        evidence = conclude(trial, time.monotonic()).evidence
    write_answers(trial.folder / "answers.json", evidence.answers)
    return Copy(trial.folder, evidence.workspace_id)


def _visit(trial: Trial) -> None:
    client = Client("one", trial.world.mesh, trial.recorder, threading.Event())
    for key, sound in (("words", trial.sounds.speech), ("none", trial.sounds.silence)):
        job_id = client.submit(sound, key).job_id
        assert client.follow(job_id, 120) == "done"
        assert client.result(job_id).status == 200
    client.delete(client.submit(trial.sounds.longer, "cancelled").job_id)
    assert client.submit(trial.sounds.silence, "refused", "refused_submit", language="xx").status == 422
    client.close()


@pytest.fixture
def copy(honest: Copy, tmp_path: Path) -> Copy:
    """A copy of its own for each test."""
    shutil.copytree(honest.folder, tmp_path / "copy", ignore=shutil.ignore_patterns("events", "logs"))
    return Copy(tmp_path / "copy", honest.workspace_id)


def test_an_honest_run_breaks_no_promise(copy: Copy) -> None:
    assert judge(copy.evidence()) == []
    assert set(copy.evidence().history.accepted()) == {"words", "none", "cancelled"}


AT = {"client": "one", "key": "", "job_id": "", "began": 9e9, "status": None, "body": {}}


def _forget_the_submit(copy: Copy) -> None:
    lines = [json.loads(line) for line in copy.history.read_text().splitlines()]
    ids = {line["id"] for line in lines if line.get("key") == "none"}
    copy.history.write_text("".join(json.dumps(line) + "\n" for line in lines if line["id"] not in ids))


def _see_it_queued_again(copy: Copy) -> None:
    [job_id] = copy.evidence().history.accepted()["words"]
    body = {"status": "queued", "progress": 1.0}
    copy.note(request={**AT, "id": "x", "kind": "read", "job_id": job_id}, reply={"id": "x", "ended": 9.1e9, "status": 200, "body": body})


def _see_it_done_after_its_deletion(copy: Copy) -> None:
    [job_id] = copy.evidence().history.accepted()["cancelled"]
    body = {"status": "done", "progress": 1.0}
    copy.note(request={**AT, "id": "x", "kind": "read", "job_id": job_id}, reply={"id": "x", "ended": 9.1e9, "status": 200, "body": body})


def _read_another_text(copy: Copy) -> None:
    [job_id] = copy.evidence().history.accepted()["words"]
    reply = {"id": "x", "ended": 9.1e9, "status": 200, "body": {"sha256": "other"}}
    copy.note(request={**AT, "id": "x", "kind": "result", "job_id": job_id}, reply=reply)


def _accept_the_key_twice(copy: Copy) -> None:
    [other] = copy.evidence().history.accepted()["none"]
    request = {**AT, "id": "x", "kind": "submit", "key": "words"}
    copy.note(request=request, reply={"id": "x", "ended": 9.1e9, "status": 202, "job_id": other, "body": {}})


def _blobs(copy: Copy) -> Sequence[Path]:
    return sorted((copy.folder / "data" / "blobs" / "objects").glob("*/*"))


def _job_in(service: str, statement: str) -> Callable[[Copy], None]:
    """A statement that names a job as {words}, {none} or {cancelled}."""

    def tamper(copy: Copy) -> None:
        ids = {key: next(iter(job_ids)) for key, job_ids in copy.evidence().history.accepted().items()}
        copy.change(service, statement.format(**ids))

    return tamper


TAMPERED: Mapping[str, tuple[Callable[[Copy], object], set[str]]] = {
    "an accepted job vanishes": (_job_in("jobs", "DELETE FROM job WHERE id = '{none}'"), {"I-1"}),
    "a job that nobody asked for": (_forget_the_submit, {"I-2"}),
    "a refused key makes a job": (_job_in("jobs", "UPDATE idempotency SET key = 'refused' WHERE job_id = '{none}'"), {"I-2"}),
    "a job never ends": (_job_in("jobs", "UPDATE job SET state = 2, complete_time = NULL WHERE id = '{none}'"), {"I-3"}),
    "a job ends before it starts": (_job_in("jobs", "UPDATE job SET complete_time = create_time - 1 WHERE id = '{none}'"), {"I-4"}),
    "a job leaves its end": (_see_it_queued_again, {"I-4"}),
    "a transcript is lost": (
        _job_in("storage", "UPDATE artefact SET state = 'deleted' WHERE size_bytes = (SELECT max(size_bytes) FROM artefact)"),
        {"I-5"},
    ),
    "two transcripts of one job": (_read_another_text, {"I-5"}),
    "a cancelled job shows a transcript": (
        _job_in("jobs", "UPDATE job SET transcript_artefact_id = 'x' WHERE id = '{cancelled}'"),
        {"I-6"},
    ),
    "a deleted job goes on": (_see_it_done_after_its_deletion, {"I-6"}),
    "one key, two jobs": (_accept_the_key_twice, {"I-9"}),
    "an event stays": (
        lambda copy: copy.change("jobs", "UPDATE outbox SET sent_time = NULL WHERE id = (SELECT max(id) FROM outbox)"),
        {"I-13"},
    ),
    "a job is charged other than it says": (_job_in("jobs", "UPDATE job SET billable_ms = billable_ms + 1 WHERE id = '{words}'"), {"I-16"}),
    "a hold that is never ended": (
        _job_in("billing", "DELETE FROM transfer WHERE pending_id IS NOT NULL AND job_id = '{none}'"),
        {"I-16", "I-18"},
    ),
    "a cancelled job is charged": (
        _job_in("billing", "UPDATE transfer SET kind = 'SETTLEMENT' WHERE kind = 'RELEASE' AND job_id = '{cancelled}'"),
        {"I-17", "I-18"},
    ),
    "credit from nowhere": (
        lambda copy: copy.change("billing", "UPDATE account SET credits_posted = credits_posted + 1 WHERE kind = 'usage'"),
        {"I-18"},
    ),
    "a hold stays open": (_job_in("billing", "UPDATE hold SET state = 'OPEN' WHERE job_id = '{none}'"), {"I-18"}),
    "a blob is gone": (lambda copy: _blobs(copy)[0].unlink(), {"I-24"}),
    "a blob is another": (lambda copy: _blobs(copy)[0].write_bytes(b"other"), {"I-24"}),
    "a blob of nobody": (lambda copy: (_blobs(copy)[0].parent / ("0" * 32)).write_bytes(b"nobody's"), {"I-24"}),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_broken_promise_is_found(case: str, copy: Copy) -> None:
    tamper, broken = TAMPERED[case]
    tamper(copy)
    assert copy.broken() == broken


def test_every_promise_is_broken_once_here() -> None:
    assert {name for _, broken in TAMPERED.values() for name in broken} == set(CHECKS)


def test_a_job_that_is_charged_more_than_it_says_counts_as_settled_twice(copy: Copy) -> None:
    assert money.settled_twice(copy.evidence()) == []
    _job_in("jobs", "UPDATE job SET billable_ms = 1 WHERE id = '{words}'")(copy)
    assert len(money.settled_twice(copy.evidence())) == 1
