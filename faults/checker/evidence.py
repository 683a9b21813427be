"""What a verdict rests on."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx2

from faults.history import History
from faults.snapshot import Row, Snapshot
from tests.e2e.mesh import Mesh

QUEUED, PROCESSING, DONE, FAILED, CANCELLED = 1, 2, 3, 4, 5
ENDED = frozenset({DONE, FAILED, CANCELLED})


@dataclass(frozen=True)
class Violation:
    """A broken promise. subject: the id of what it was broken for."""

    invariant: str
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.subject}: {self.message}"


@dataclass(frozen=True)
class Answer:
    """What the public API says of a job at the end. result_sha256: of its transcript, empty without one."""

    status: int
    row: Mapping[str, Any]
    result_status: int
    result_sha256: str


@dataclass(frozen=True)
class Evidence:
    """Everything the checker may know.

    swept_before: blobs older than that are past their sweep; seconds since 1970. workspace_id: whose jobs the history speaks of.
    """

    history: History
    answers: Mapping[str, Answer]
    snapshot: Snapshot
    swept_before: float
    workspace_id: str

    def endings(self) -> Iterator[tuple[str, int, int]]:
        """Id, state and billable milliseconds of every job, those removed included."""
        for row in self.snapshot.table("jobs.job"):
            yield row["id"], row["state"], row["billable_ms"]
        known = {row["id"] for row in self.snapshot.table("jobs.job")}
        for row in self.snapshot.table("jobs.tombstone"):
            if row["job_id"] not in known:
                yield row["job_id"], row["state"], row["billable_ms"]


Check = Callable[[Evidence], Iterable[Violation]]


def ask(mesh: Mesh, job_ids: Iterable[str]) -> Mapping[str, Answer]:
    """What the API says of each job, and of its transcript."""
    return {job_id: _answer(mesh.client, job_id) for job_id in sorted(job_ids)}


def _answer(client: httpx2.Client, job_id: str) -> Answer:
    row, result = client.get(f"/api/v1/jobs/{job_id}"), client.get(f"/api/v1/jobs/{job_id}/result")
    digest = hashlib.sha256(result.content).hexdigest() if result.is_success else ""
    return Answer(row.status_code, row.json(), result.status_code, digest)


def write_answers(path: Path, answers: Mapping[str, Answer]) -> None:
    """Keep answers beside a history."""
    path.write_text(json.dumps({job_id: asdict(answer) for job_id, answer in answers.items()}))


def read_answers(path: Path) -> Mapping[str, Answer]:
    """The answers that were kept."""
    return {job_id: Answer(**answer) for job_id, answer in json.loads(path.read_text()).items()}


def grouped(rows: Sequence[Row], column: str) -> dict[str, list[Row]]:
    """Rows by a column; those where it is empty are left out."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row[column]:
            found.setdefault(row[column], []).append(row)
    return found
