"""GET /api/v1/jobs/{id}: one hop behind the gateway, beside a plain Starlette route that answers the same body."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.baselines import ROW_FILE, running_plain
from bench.benchmark import Effort
from bench.http import Address, Load, closed_loop, request
from bench.mesh import paused
from bench.report import Row, Target, at_least, at_most, compared, interleaved, no_more_than
from bench.sound import write_silence
from tests.e2e.mesh import running_mesh


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Rates and latencies at one and sixteen connections."""
    with running_mesh(folder) as mesh:
        job_id = mesh.submitted(write_silence(folder / "clip.wav"))
        (folder / ROW_FILE).write_text(json.dumps(mesh.finished(job_id)))
        with running_plain(folder) as plain, paused(mesh.child_pid("inference") or 0):
            ours, theirs = Address.of(mesh.ready["url"]), Address.of(plain.url)
            job = request("GET", f"/api/v1/jobs/{job_id}", api_key=mesh.ready["api_key"])
            plain_job, health = request("GET", f"/jobs/{job_id}"), request("GET", "/healthz")
            contenders = {
                f"{name} {clients}": partial(closed_loop, address, message, clients, effort.seconds)
                for clients in (1, 16)
                for name, address, message in (
                    ("job", ours, job),
                    ("plain job", theirs, plain_job),
                    ("health", ours, health),
                    ("plain health", theirs, health),
                )
            }
            await closed_loop(ours, job, 16, effort.seconds)
            loads = await interleaved(effort.rounds, contenders)
    return _rows(loads)


def _rows(loads: dict[str, list[Load]]) -> list[Row]:
    def row(name: str, unit: str, kind: str, clients: int, figure: str, target: Target | None = None) -> Row:
        subject, baseline = ([getattr(load, figure) for load in loads[f"{who} {clients}"]] for who in (kind, f"plain {kind}"))
        return compared(name, unit, subject, baseline, target)

    added = [one.p50 - other.p50 for one, other in zip(loads["job 1"], loads["plain job 1"], strict=True)]
    return [
        row("no hop (/healthz), c=1", "req/s", "health", 1, "rate"),
        row("no hop (/healthz), c=16", "req/s", "health", 16, "rate", at_least(0.6)),
        row("job, c=1", "req/s", "job", 1, "rate"),
        row("job, c=1, p50", "ms", "job", 1, "p50"),
        Row("job, c=1, p50 over the floor", "ms", sorted(added)[len(added) // 2], target=no_more_than(0.8)),
        row("job, c=1, p99", "ms", "job", 1, "p99"),
        row("job, c=16", "req/s", "job", 16, "rate", at_least(0.25)),
        row("job, c=16, p50", "ms", "job", 16, "p50", at_most(4)),
        row("job, c=16, p99", "ms", "job", 16, "p99", at_most(5)),
    ]
