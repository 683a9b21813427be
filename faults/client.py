"""A careful client: it writes down what it sends and what came of it, and repeats what got no answer with the same key."""

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from faults.history import Kind, Recorder
from tests.e2e.mesh import Mesh

ENDED = frozenset({"done", "failed", "cancelled"})
_TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 0.3
_KEPT = ("status", "progress", "error_code", "code", "billed_seconds", "speech_detected", "job_id", "sha256")
_DEFINITE = range(200, 500)
_BUSY = (408, 425, 429)


@dataclass(frozen=True)
class Reply:
    """What came back; status is None where nothing did."""

    status: int | None
    body: Mapping[str, Any]

    @property
    def is_definite(self) -> bool:
        """Whether there is nothing to repeat."""
        return self.status in _DEFINITE and self.status not in _BUSY

    @property
    def job_id(self) -> str:
        """The job that was accepted; empty if none was."""
        return str(self.body["job_id"]) if self.status in (200, 202) and "job_id" in self.body else ""


class Client:
    """One user of a mesh. over: no new call is repeated once it is set."""

    def __init__(self, name: str, mesh: Mesh, recorder: Recorder, over: threading.Event, headers: Mapping[str, str] | None = None) -> None:
        """headers: who it is; the first workspace's key unless given."""
        self.name = name
        self._recorder = recorder
        self._over = over
        self._http = mesh.client_for("" if headers else mesh.ready["api_key"])
        self._http.headers.update(headers or {})
        self._http.timeout = httpx2.Timeout(_TIMEOUT_SECONDS)

    def close(self) -> None:
        """Drop its connections."""
        self._http.close()

    def pause(self, seconds: float) -> bool:
        """Wait; True when the load is over."""
        return self._over.wait(seconds)

    def submit(self, path: Path, key: str, kind: Kind = "submit", **fields: str) -> Reply:
        """Order a transcription of a file."""
        content = path.read_bytes()
        return self._patiently(
            kind, "POST", "/api/v1/transcribe", key=key, files={"file": (path.name, content)}, data=fields, headers={"Idempotency-Key": key}
        )

    def submit_url(self, url: str, key: str) -> Reply:
        """Order a transcription of what is at a URL."""
        return self._patiently("submit", "POST", "/api/v1/transcribe/url", key=key, json={"url": url}, headers={"Idempotency-Key": key})

    def submit_upload(self, path: Path, key: str) -> Reply:
        """Announce a file, send it, and say that it is there; its first reply names the job."""
        reply = self.announce(path, key)
        if reply.job_id and reply.body.get("upload_url"):
            self._patiently("upload", "PUT", reply.body["upload_url"], job_id=reply.job_id, content=path.read_bytes())
        if reply.job_id:
            self._patiently("upload", "POST", reply.body["complete_url"], job_id=reply.job_id)
        return reply

    def announce(self, path: Path, key: str) -> Reply:
        """Say that a file will come; where to is in the reply's body."""
        asked = {"filename": path.name, "size_bytes": path.stat().st_size}
        return self._patiently("submit", "POST", "/api/v1/uploads/init", key=key, json=asked, headers={"Idempotency-Key": key})

    def read(self, job_id: str) -> Reply:
        """Its row, asked for once."""
        return self._once("read", "GET", f"/api/v1/jobs/{job_id}", job_id=job_id)

    def result(self, job_id: str) -> Reply:
        """Its transcript, asked for once; of the text only the digest is kept."""
        return self._once("result", "GET", f"/api/v1/jobs/{job_id}/result", job_id=job_id)

    def delete(self, job_id: str) -> Reply:
        """Cancel it, or remove it once it has ended."""
        return self._patiently("delete", "DELETE", f"/api/v1/jobs/{job_id}", job_id=job_id)

    def follow(self, job_id: str, seconds: float, every: float = 0.3) -> str:
        """Read its row until it has ended, or is gone, or that long; the last status."""
        until, status = time.monotonic() + seconds, ""
        while time.monotonic() < until:
            reply = self.read(job_id)
            status = str(reply.body.get("status", "")) or status
            if status in ENDED or reply.status == httpx2.codes.NOT_FOUND or self.pause(every):
                break
        return status

    def _patiently(self, kind: Kind, method: str, path: str, *, key: str = "", job_id: str = "", **request: Any) -> Reply:
        while True:
            reply = self._once(kind, method, path, key=key, job_id=job_id, **request)
            if reply.is_definite or self.pause(_RETRY_SECONDS):
                return reply

    def _once(self, kind: Kind, method: str, path: str, *, key: str = "", job_id: str = "", **request: Any) -> Reply:
        call = self._recorder.asking(self.name, kind, key=key, job_id=job_id)
        try:
            response = self._http.request(method, path, **request)
        except httpx2.TransportError as error:
            self._recorder.lost(call, type(error).__name__)
            return Reply(None, {})
        reply = Reply(response.status_code, _body_of(response, kind))
        self._recorder.answered(call, response.status_code, job_id or reply.job_id, _kept(reply))
        return reply


def _body_of(response: httpx2.Response, kind: Kind) -> Mapping[str, Any]:
    if kind == "result" and response.is_success:
        return {"sha256": hashlib.sha256(response.content).hexdigest()}
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _kept(reply: Reply) -> Mapping[str, Any]:
    """What the history says of a body: never a text, a token or a signed URL."""
    return {name: reply.body[name] for name in _KEPT if name in reply.body}
