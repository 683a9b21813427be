"""What clients saw, as they saw it: every request, and its reply or that none came, kept on disk before the client goes on."""

import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from services.mesh.ids import new_id

Kind = Literal["submit", "refused_submit", "upload", "read", "result", "delete"]
_ACCEPTED = frozenset({200, 202})


@dataclass(frozen=True)
class Call:
    """One request with what became of it; status is None where that is unknown. Times are seconds of this machine's clock."""

    id: str
    client: str
    kind: Kind
    key: str = ""
    job_id: str = ""
    began: float = 0.0
    ended: float = 0.0
    status: int | None = None
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_accepted_submit(self) -> bool:
        """Whether a job was promised."""
        return self.kind in ("submit", "refused_submit") and self.status in _ACCEPTED

    @property
    def is_refused(self) -> bool:
        """Whether the answer says for certain that nothing was done."""
        return self.status is not None and 400 <= self.status < 500


@dataclass(frozen=True)
class History:
    """Every call of a campaign, in the order in which they ended; calls that never did are last."""

    calls: Sequence[Call]

    def of_kind(self, *kinds: Kind) -> Iterator[Call]:
        """The calls of these kinds."""
        return (call for call in self.calls if call.kind in kinds)

    def accepted(self) -> dict[str, set[str]]:
        """The ids of jobs that were promised, by idempotency key."""
        found: dict[str, set[str]] = {}
        for call in self.calls:
            if call.is_accepted_submit:
                found.setdefault(call.key, set()).add(call.job_id)
        return found

    def keys(self) -> set[str]:
        """Every idempotency key that was ever sent."""
        return {call.key for call in self.of_kind("submit", "refused_submit")}

    def deleted(self) -> set[str]:
        """Jobs that somebody asked to cancel or remove, whether or not it came through."""
        return {call.job_id for call in self.of_kind("delete")}


class Recorder:
    """Writes a history; a line is on disk before `asking` lets its client send, and before it hands the reply on."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lock = threading.Lock()

    def asking(self, client: str, kind: Kind, *, key: str = "", job_id: str = "") -> Call:
        """Note that a request is about to be sent."""
        call = Call(new_id(), client, kind, key, job_id, began=time.time())
        self._write({"event": "request", **asdict(call)})
        return call

    def answered(self, call: Call, status: int, job_id: str, body: Mapping[str, Any]) -> None:
        """Note its reply."""
        self._write({"event": "reply", "id": call.id, "ended": time.time(), "status": status, "job_id": job_id, "body": body})

    def lost(self, call: Call, why: str) -> None:
        """Note that no reply came: it may have been done or not."""
        self._write({"event": "unknown", "id": call.id, "ended": time.time(), "why": why})

    def _write(self, line: Mapping[str, Any]) -> None:
        content = json.dumps(line).encode() + b"\n"
        with self._lock:
            self._file.write(content)
            os.fsync(self._file.fileno())


@contextmanager
def recording(path: Path) -> Iterator[Recorder]:
    """A recorder that goes on with the file."""
    with path.open("ab", buffering=0) as file:
        yield Recorder(file)


def read_history(path: Path) -> History:
    """The history in a file; a line that was cut off by a crash is left out."""
    asked: dict[str, dict[str, Any]] = {}
    ended: list[Call] = []
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        event = json.loads(line)
        kind = event.pop("event")
        if kind == "request":
            asked[event["id"]] = event
        elif kind == "reply":
            ended.append(Call(**{**asked.pop(event["id"]), **event}))
        else:
            ended.append(Call(**{**asked.pop(event["id"]), "ended": event["ended"]}))
    return History([*ended, *(Call(**event) for event in asked.values())])
