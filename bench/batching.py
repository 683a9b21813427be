"""Eight jobs at once over Triton beside jobs one after the other, and how many windows each batch held.

At once in two ways: eight submitted together and waited for, the first and the last of which have the machine for themselves for a
while; and eight clients who each submit the next job when theirs has ended, so that eight are in hand until the last ones.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from bench.benchmark import Effort
from bench.report import Row, Target, at_least, compared, interleaved, single
from bench.speech import MEETING, MEETING_SECONDS, mesh_on_triton
from tests.e2e.batches import executed, mean_size
from tests.e2e.mesh import Mesh

JOBS = 8
JOBS_OF_EACH = 4
MEAN_BATCH = Target(3.0, at_least=True, of_subject=True)
_FIELDS = {"language": "en", "diarize": "false"}
_JOB_SECONDS = 600.0

Way = Callable[[Mesh], list[str]]


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Seconds of audio per second, and the batches of `whisper` as ModelStatistics tells them."""
    batches: dict[Way, Counter[int]] = {_kept_in_hand: Counter(), _submitted_together: Counter(), _one_by_one: Counter()}
    with mesh_on_triton(folder) as mesh:
        said = _text(mesh, _submitted(mesh))
        contenders = {way.__name__: partial(_rate, mesh, way, said, counted) for way, counted in batches.items()}
        rates = await interleaved(effort.rounds, contenders)
    apart = rates[_one_by_one.__name__]
    return [
        compared(f"{JOBS} jobs kept in hand : one by one", "s/s", rates[_kept_in_hand.__name__], apart, at_least(1.5)),
        compared(f"{JOBS} jobs submitted together : one by one", "s/s", rates[_submitted_together.__name__], apart, at_least(1.5)),
        *(_row_of_batches(way, counted) for way, counted in batches.items()),
    ]


def _row_of_batches(way: Way, counted: Counter[int]) -> Row:
    """Only jobs at once can fill batches."""
    target = None if way is _one_by_one else MEAN_BATCH
    name = way.__name__.strip("_").replace("_", " ")
    return single(f"windows per batch, {name}; {_histogram(counted)}", "", [mean_size(counted)], target)


async def _rate(mesh: Mesh, way: Way, said: str, batches: Counter[int]) -> float:
    before, started = executed(mesh), time.monotonic()
    texts = await asyncio.to_thread(way, mesh)
    seconds = time.monotonic() - started
    assert texts == [said] * len(texts), "the words depend on the batch"
    batches.update(executed(mesh) - before)
    return len(texts) * MEETING_SECONDS / seconds


def _kept_in_hand(mesh: Mesh) -> list[str]:
    with ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(lambda _: _text(mesh, _submitted(mesh)), range(JOBS * JOBS_OF_EACH)))


def _submitted_together(mesh: Mesh) -> list[str]:
    with ThreadPoolExecutor(JOBS) as pool:
        jobs = list(pool.map(lambda _: _submitted(mesh), range(JOBS)))
        return list(pool.map(partial(_text, mesh), jobs))


def _one_by_one(mesh: Mesh) -> list[str]:
    return [_text(mesh, _submitted(mesh)) for _ in range(JOBS)]


def _submitted(mesh: Mesh) -> str:
    return mesh.submitted(MEETING, **_FIELDS)


def _text(mesh: Mesh, job_id: str) -> str:
    """Once the job's events have ended: who asks every so often learns of the end by half of that later, which would count as idle time."""
    with mesh.client.stream("GET", f"/api/v1/jobs/{job_id}/events", timeout=_JOB_SECONDS) as response:
        for _ in response.iter_lines():
            continue
    assert mesh.job(job_id)["status"] == "done"
    return str(mesh.result(job_id)["text"])


def _histogram(batches: Counter[int]) -> str:
    return ", ".join(f"{count} of {size}" for size, count in sorted(batches.items()))
