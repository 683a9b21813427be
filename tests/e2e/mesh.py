"""The whole mesh as its users run it: `steno up` in a directory of its own, driven through REST."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
import httpx2
import psutil

from services.mesh.tls.certificates import Certificates
from services.mesh.tls.channel import make_channel
from services.stack.certificates.folder import CertificateFolder, make_certificates

STENO = Path(sys.executable).parent / "steno"
ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
READY_SECONDS = 300.0
T = TypeVar("T")


class MeshEnded(AssertionError):
    """`steno up` ended before it was ready."""


def wait_for(ask: Callable[[], T | None], seconds: float, what: str, every: float = 0.05) -> T:
    """The first answer that is neither None nor False. Fails with what was waited for."""
    until = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(every)


@dataclass
class Mesh:
    """A running mesh."""

    folder: Path
    process: subprocess.Popen[bytes]
    ready: Mapping[str, Any]
    client: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.client_for(self.ready["api_key"])

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.folder / "data"

    @property
    def certificates(self) -> CertificateFolder:
        """Its certificates, where it runs with --tls; those of the client `lab` are among them."""
        return CertificateFolder(self.data / "certificates")

    def tls(self, identity: str) -> Certificates | None:
        """What a service calls with."""
        return self.certificates.open(identity) if self.ready.get("tls") else None

    def channel(self, server: str) -> grpc.aio.Channel:
        """To a service, as a program of another team."""
        return make_channel(self.ready["grpc"][server], [], self.tls("client/lab"))

    def client_for(self, api_key: str) -> httpx2.Client:
        """A REST client that presents this key."""
        headers = {"X-API-Key": api_key} if api_key else {}
        return httpx2.Client(base_url=self.ready["url"], headers=headers, timeout=60.0, trust_env=False)

    def child_pid(self, name: str) -> int | None:
        """Process id of a child now; None between a crash and its restart."""
        markers = {"nats": "nats-server", "triton": "tritonserver"}
        marker = markers.get(name, f"services.{name}")
        for child in psutil.Process(self.process.pid).children():
            try:
                command = child.cmdline()
            except psutil.Error:
                continue
            if any(part.endswith(marker) for part in command) and "tether.py" not in " ".join(command[:3]):
                return child.pid
        return None

    def kill(self, name: str, number: int = signal.SIGKILL) -> int | None:
        """Signal a child; its id, or None when it was not there."""
        pid = self.child_pid(name)
        if pid is not None:
            os.kill(pid, number)
        return pid

    def is_ready(self) -> bool:
        """What /readyz says; False while nothing answers."""
        try:
            return self.client.get("/readyz").status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def submit(self, path: Path, headers: Mapping[str, str] | None = None, fields: Mapping[str, str] | None = None) -> httpx2.Response:
        """POST a file to /api/v1/transcribe."""
        with path.open("rb") as file:
            return self.client.post("/api/v1/transcribe", files={"file": (path.name, file)}, data=fields, headers=headers)

    def submitted(self, path: Path, **fields: str) -> str:
        """Submit and expect acceptance; the job's id."""
        response = self.submit(path, fields=fields)
        assert response.status_code == 202, response.text
        job_id: str = response.json()["job_id"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        """The status row."""
        row: dict[str, Any] = self.client.get(f"/api/v1/jobs/{job_id}").raise_for_status().json()
        return row

    def finished(self, job_id: str, seconds: float = 180.0) -> dict[str, Any]:
        """The status row once the job has ended."""

        def ended() -> dict[str, Any] | None:
            row = self.job(job_id)
            return row if row["status"] in ("done", "failed", "cancelled") else None

        return wait_for(ended, seconds, f"job {job_id} to end", every=0.1)

    def result(self, job_id: str) -> dict[str, Any]:
        """The JSON transcript."""
        transcript: dict[str, Any] = self.client.get(f"/api/v1/jobs/{job_id}/result").raise_for_status().json()
        return transcript

    def transcribed(self, path: Path, **fields: str) -> dict[str, Any]:
        """Submit, wait, and read the transcript of a job that ends done."""
        job_id = self.submitted(path, **fields)
        row = self.finished(job_id)
        assert row["status"] == "done", row
        return self.result(job_id)

    def stop(self) -> float:
        """SIGTERM and wait; seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=40)
        return time.monotonic() - started


@contextmanager
def running_mesh(
    folder: Path, environment: Mapping[str, str] | None = None, *, engine: str = "local", prefix: Sequence[str] = (), tls: bool = False
) -> Iterator[Mesh]:
    """`steno up` until left; ready when yielded. prefix: a command that becomes the one after it, as `exec` does."""
    ready_file = folder / "ready.json"
    options = ["--engine", engine, "--data", str(folder / "data"), "--port", "0", "--ready-file", str(ready_file)]
    command = [*prefix, str(STENO), "up", *options, *(["--tls"] if tls else [])]
    log = (folder / "up.log").open("ab")
    with log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(environment or {})})
    try:
        wait_for(lambda: ready_file.exists() or _died(process, folder), READY_SECONDS, "the mesh to be ready")
        mesh = Mesh(folder, process, json.loads(ready_file.read_text()))
        if tls:
            make_certificates(mesh.certificates, ["client/lab"])
        with mesh.client:
            yield mesh
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _died(process: subprocess.Popen[bytes], folder: Path) -> bool:
    if process.poll() is not None:
        raise MeshEnded(f"steno up ended with {process.returncode}:\n{(folder / 'up.log').read_text()[-4000:]}")
    return False
