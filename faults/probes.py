"""Single requests with a look at how they are answered, and how fast."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from faults.history import Call, Recorder
from tests.e2e.mesh import Mesh

NO_ANSWER = 0
_TIMEOUT_SECONDS = 60.0
_ERROR = 400


@dataclass(frozen=True)
class Answer:
    """What came back, and after how many seconds; status is NO_ANSWER where nothing did."""

    request: str
    status: int
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def job_id(self) -> str:
        """The job that was accepted, if one was."""
        return str(self.body["job_id"]) if self.status in (200, 202) and "job_id" in self.body else ""


@dataclass(frozen=True)
class Probe:
    """Asks a mesh as a client of its first workspace, each time over a connection of its own."""

    mesh: Mesh
    recorder: Recorder

    def submit(self, path: Path, key: str) -> Answer:
        """Order a transcription, once; it stands in the history."""
        call = self.recorder.asking("probe", "submit", key=key)
        files = {"file": (path.name, path.read_bytes())}
        return self._noted(call, self.ask("POST", "/api/v1/transcribe", files=files, headers={"Idempotency-Key": key}))

    def announce(self, key: str) -> Answer:
        """Order a transcription of a file that is to be sent later, once; it stands in the history."""
        call = self.recorder.asking("probe", "submit", key=key)
        asked = {"filename": "announced.wav", "size_bytes": 1000}
        return self._noted(call, self.ask("POST", "/api/v1/uploads/init", json=asked, headers={"Idempotency-Key": key}))

    def delete(self, job_id: str) -> Answer:
        """Cancel a job, once; it stands in the history."""
        call = self.recorder.asking("probe", "delete", job_id=job_id)
        return self._noted(call, self.ask("DELETE", f"/api/v1/jobs/{job_id}"))

    def _noted(self, call: Call, answer: Answer) -> Answer:
        if answer.status == NO_ANSWER:
            self.recorder.lost(call, "no answer")
        else:
            self.recorder.answered(call, answer.status, call.job_id or answer.job_id, {})
        return answer

    def ask(self, method: str, path: str, **request: Any) -> Answer:
        """One request."""
        began = time.monotonic()
        with self.mesh.client_for(self.mesh.ready["api_key"]) as client:
            try:
                response = client.request(method, path, timeout=_TIMEOUT_SECONDS, **request)
            except httpx2.TransportError:
                return Answer(f"{method} {path}", NO_ANSWER, time.monotonic() - began)
        return Answer(f"{method} {path}", response.status_code, time.monotonic() - began, response.headers, _json(response))


def _json(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def coded_faults(answer: Answer, allowed: Collection[int]) -> Sequence[str]:
    """What is wrong with an answer that may refuse: its status, a refusal without its code and sentence, a 503 without Retry-After."""
    found = []
    if answer.status not in allowed:
        found.append(f"{answer.request}: {answer.status}")
    if answer.status >= _ERROR and not (answer.body.get("code") and answer.body.get("error")):
        found.append(f"{answer.request}: {answer.status} without a code")
    if answer.status == httpx2.codes.SERVICE_UNAVAILABLE and "retry-after" not in answer.headers:
        found.append(f"{answer.request}: 503 without Retry-After")
    return found
