"""GET /api/v1/jobs/{id}, one hop behind the gateway, on several meshes that are asked in turn."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.http import Address, closed_loop, request
from bench.mesh import paused
from bench.report import Row, Target, compared
from bench.sound import write_silence
from tests.e2e.mesh import Mesh, running_mesh

CLIENTS = 16
_PATIENT = {"STENO_GATEWAY_RPC_TIMEOUT_SECONDS": "60"}


@dataclass(frozen=True)
class Cost:
    """What a round took. processor: milliseconds of the gateway and of jobs for each request, which other work hardly changes."""

    rate: float
    p50: float
    p99: float
    processor: float


@dataclass(frozen=True)
class Hop:
    """A mesh with a job to read, its inference paused."""

    mesh: Mesh
    message: bytes
    seconds: float

    async def measured(self) -> Cost:
        """What a round of requests takes."""
        processes = [psutil.Process(self.mesh.child_pid(name)) for name in ("gateway", "jobs")]
        before, started = _processor_seconds(processes), time.perf_counter()
        load = await closed_loop(Address.of(self.mesh.ready["url"]), self.message, CLIENTS, self.seconds)
        requests = load.rate * (time.perf_counter() - started)
        return Cost(load.rate, load.p50, load.p99, (_processor_seconds(processes) - before) * 1000 / requests)


@contextmanager
def running_hop(folder: Path, environment: Mapping[str, str], seconds: float, *, tls: bool = False) -> Iterator[Hop]:
    """A mesh of its own until left. seconds: of a round."""
    folder.mkdir()
    with running_mesh(folder, {**_PATIENT, **environment}, tls=tls) as mesh:
        job_id = mesh.submitted(write_silence(folder / "clip.wav"))
        mesh.finished(job_id)
        with paused(mesh.child_pid("inference") or 0):
            yield Hop(mesh, request("GET", f"/api/v1/jobs/{job_id}", api_key=mesh.ready["api_key"]), seconds)


def row(name: str, unit: str, figure: str, subject: Sequence[Cost], baseline: Sequence[Cost], target: Target | None = None) -> Row:
    """One figure of two meshes."""
    one, other = ([getattr(cost, figure) for cost in costs] for costs in (subject, baseline))
    return compared(f"job, c={CLIENTS}, {figure}, {name}", unit, one, other, target)


def _processor_seconds(processes: Sequence[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))
