"""Eight jobs at once over Triton beside the same jobs one after the other, and how many windows each batch held."""

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
MEAN_BATCH = Target(3.0, at_least=True, of_subject=True)
_FIELDS = {"language": "en", "diarize": "false"}
_JOB_SECONDS = 600.0

Way = Callable[[Mesh], list[str]]


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Seconds of audio per second, and the batches of `whisper` as ModelStatistics tells them."""
    batches: dict[Way, Counter[int]] = {_at_once: Counter(), _one_by_one: Counter()}
    with mesh_on_triton(folder) as mesh:
        said = mesh.transcribed(MEETING, **_FIELDS)["text"]
        contenders = {way.__name__: partial(_rate, mesh, way, said, counted) for way, counted in batches.items()}
        rates = await interleaved(effort.rounds, contenders)
    together, apart = batches[_at_once], batches[_one_by_one]
    return [
        compared(f"{JOBS} jobs at once : one by one", "s/s", rates[_at_once.__name__], rates[_one_by_one.__name__], at_least(1.5)),
        single(f"windows per batch, {JOBS} jobs at once; {_histogram(together)}", "", [mean_size(together)], MEAN_BATCH),
        single(f"windows per batch, one by one; {_histogram(apart)}", "", [mean_size(apart)]),
    ]


async def _rate(mesh: Mesh, way: Way, said: str, batches: Counter[int]) -> float:
    before, started = executed(mesh), time.monotonic()
    texts = await asyncio.to_thread(way, mesh)
    seconds = time.monotonic() - started
    assert texts == [said] * JOBS, "the words depend on the batch"
    batches.update(executed(mesh) - before)
    return JOBS * MEETING_SECONDS / seconds


def _at_once(mesh: Mesh) -> list[str]:
    with ThreadPoolExecutor(JOBS) as pool:
        jobs = list(pool.map(lambda _: mesh.submitted(MEETING, **_FIELDS), range(JOBS)))
    for job in jobs:
        assert mesh.finished(job, _JOB_SECONDS)["status"] == "done"
    return [mesh.result(job)["text"] for job in jobs]


def _one_by_one(mesh: Mesh) -> list[str]:
    return [mesh.transcribed(MEETING, **_FIELDS)["text"] for _ in range(JOBS)]


def _histogram(batches: Counter[int]) -> str:
    return ", ".join(f"{count} of {size}" for size, count in sorted(batches.items()))
