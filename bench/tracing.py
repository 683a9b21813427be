"""A call through the gateway with tracing off, at 1 % and at 100 %: three meshes, asked in turn.

`python -m bench.tracing PORT` is their collector.
"""

import http.server
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2
import psutil

from bench.benchmark import Effort
from bench.http import Address, closed_loop, request
from bench.mesh import paused
from bench.report import Row, Target, at_least, at_most, compared, interleaved
from bench.sound import write_silence
from tests.e2e.mesh import Mesh, running_mesh
from tests.servers import free_port

_CLIENTS = 16
_START_SECONDS = 30.0
_RATIOS = {"1 %": "0.01", "100 %": "1"}
_PATIENT = {"STENO_GATEWAY_RPC_TIMEOUT_SECONDS": "60"}


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """GET /api/v1/jobs/{id}, one hop behind the gateway."""
    with ExitStack() as stack:
        url = stack.enter_context(_running_collector())
        environments: dict[str, Mapping[str, str]] = {"off": {**_PATIENT, "OTEL_SDK_DISABLED": "true"}}
        for name, ratio in _RATIOS.items():
            sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio}
            environments[name] = {**_PATIENT, "OTEL_EXPORTER_OTLP_ENDPOINT": url, **sampler}
        contenders = {}
        for number, (name, environment) in enumerate(environments.items()):
            own = folder / str(number)
            own.mkdir()
            mesh = stack.enter_context(running_mesh(own, environment))
            job_id = mesh.submitted(write_silence(own / "clip.wav"))
            mesh.finished(job_id)
            stack.enter_context(paused(mesh.child_pid("inference") or 0))
            message = request("GET", f"/api/v1/jobs/{job_id}", api_key=mesh.ready["api_key"])
            contenders[name] = partial(_measured, mesh, message, effort.seconds)
        for warm in contenders.values():
            await warm()
        costs = await interleaved(effort.rounds, contenders)
    return _rows(costs)


@dataclass(frozen=True)
class _Cost:
    """What a round took. processor: milliseconds of the gateway and of jobs for each request, which other work hardly changes."""

    rate: float
    p50: float
    p99: float
    processor: float


async def _measured(mesh: Mesh, message: bytes, seconds: float) -> _Cost:
    processes = [psutil.Process(mesh.child_pid(name)) for name in ("gateway", "jobs")]
    before, started = _processor_seconds(processes), time.perf_counter()
    load = await closed_loop(Address.of(mesh.ready["url"]), message, _CLIENTS, seconds)
    requests = load.rate * (time.perf_counter() - started)
    return _Cost(load.rate, load.p50, load.p99, (_processor_seconds(processes) - before) * 1000 / requests)


def _processor_seconds(processes: Sequence[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def _rows(costs: Mapping[str, Sequence[_Cost]]) -> list[Row]:
    def row(name: str, unit: str, figure: str, target: Target | None = None) -> Row:
        subject, baseline = ([getattr(cost, figure) for cost in costs[who]] for who in (name, "off"))
        return compared(f"job, c={_CLIENTS}, {figure}, {name} recorded : tracing off", unit, subject, baseline, target)

    return [
        row("1 %", "req/s", "rate", at_least(0.85)),
        # The same bound, of what a busy machine can measure.
        row("1 %", "ms", "processor", at_most(1 / 0.85)),
        row("1 %", "ms", "p99"),
        row("100 %", "req/s", "rate"),
        row("100 %", "ms", "processor"),
        row("100 %", "ms", "p99"),
    ]


@contextmanager
def _running_collector() -> Iterator[str]:
    """A collector in a process of its own, which takes everything and keeps nothing."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "bench.tracing", str(port)])
    try:
        _await(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _await(url: str) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            httpx2.post(url, content=b"", trust_env=False)
            return
        except httpx2.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


class _Sink(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Sink).serve_forever()
