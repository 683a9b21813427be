"""One replica of a service: a process that is stopped and started again at the same address."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.e2e.mesh import wait_for

_READY_SECONDS = 120.0
_END_SECONDS = 40.0
_ANSWER_SECONDS = 2.0


@dataclass
class Replica:
    """A process of a service. data_port: of storage's data plane; 0 for the others."""

    service: str
    number: int
    port: int
    data_port: int
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Such as jobs-1."""
        return f"{self.service}-{self.number}"

    def start(self) -> None:
        """Start it; it is ready later."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, env={**os.environ, **self.environment}, stdout=log, stderr=log)

    def wait_until_ready(self) -> None:
        """Until it says so."""
        wait_for(lambda: self.is_ready() or self._ended(), _READY_SECONDS, f"{self.name} to be ready", every=0.1)

    def end(self) -> int:
        """SIGTERM, as a rolling upgrade does; its exit status. Killed, with -9, when it takes longer than that allows."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def restart(self) -> tuple[int, float]:
        """End it, start it again, and wait until it is ready; its exit status, and the seconds that it was away."""
        status, ended = self.end(), time.monotonic()
        self.start()
        self.wait_until_ready()
        return status, time.monotonic() - ended

    def is_ready(self) -> bool:
        """What a balancer in front of it finds."""
        return self._http_ready() if self.service == "gateway" else self._grpc_ready()

    def _http_ready(self) -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False, timeout=_ANSWER_SECONDS).is_success
        except httpx2.TransportError:
            return False

    def _grpc_ready(self) -> bool:
        request = health_pb2.HealthCheckRequest()
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=_ANSWER_SECONDS)
            except grpc.RpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def _ended(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log.read_text(errors='replace')[-3000:]}")
        return False
