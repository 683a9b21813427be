"""Large files in and out, beside plain servers; what they cost in memory and what others feel of them."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import transfer
from bench.baselines import running_plain
from bench.benchmark import Effort
from bench.http import Address, paced, request
from bench.memory import watched
from bench.mesh import Inside, open_inside, paused, pids
from bench.report import Row, at_least, compared, interleaved, no_more_than, percentile, single
from bench.sound import write_noise, write_silence
from tests.e2e.mesh import Mesh, running_mesh

_MEGABYTE = 1_000_000
_SMALL_BYTES = 1_000_000
_ASK_EVERY_SECONDS = 0.01
_IDLE_SECONDS = 2.0
_TOGETHER = 8
_ONE_UPLOAD_MEGABYTES = 8
_EIGHT_UPLOADS_MEGABYTES = 64
_OTHERS_MILLISECONDS = 30


async def run(effort: Effort, folder: Path) -> Sequence[Row]:
    """Memory first, on a mesh that has seen one small upload; then the rates, with inference paused."""
    large = await asyncio.to_thread(write_noise, folder / "large.wav", effort.upload_bytes)
    small = write_noise(folder / "small.wav", _SMALL_BYTES)
    with running_mesh(folder) as mesh:
        async with open_inside(mesh) as inside:
            bench = _Bench(mesh, inside, large)
            watched_job = mesh.submitted(write_silence(folder / "clip.wav"))
            mesh.finished(watched_job)
            await bench.uploaded(small)
            memory = await _memory(bench, watched_job)
            with paused(mesh.child_pid("inference") or 0):
                rates = await _rates(bench, effort, folder)
    return [*rates, *memory]


@dataclass(frozen=True)
class _Bench:
    mesh: Mesh
    inside: Inside
    large: Path

    @property
    def rate_bytes(self) -> int:
        """Bytes of the large file."""
        return self.large.stat().st_size

    async def uploaded(self, path: Path) -> float:
        """Seconds of POST /api/v1/transcribe; the job is deleted at once."""
        url = f"{self.mesh.ready['url']}/api/v1/transcribe"
        reply = await asyncio.to_thread(transfer.post_form, url, path, self.mesh.ready["api_key"])
        await asyncio.to_thread(self._delete, reply.json()["job_id"])
        return reply.seconds

    def _delete(self, job_id: str) -> None:
        self.mesh.client.delete(f"/api/v1/jobs/{job_id}").raise_for_status()

    async def put(self) -> float:
        """Seconds of a PUT to the data plane."""
        media_id, seconds = await self.inside.put(self.large)
        await self.inside.forget(media_id)
        return seconds


async def _rates(bench: _Bench, effort: Effort, folder: Path) -> list[Row]:
    media_id = await bench.inside.stored(bench.large)
    url = await bench.inside.download_url(media_id)
    with running_plain(folder) as plain:
        contenders: dict[str, Callable[[], Awaitable[float]]] = {
            "steno": partial(bench.uploaded, bench.large),
            "put": bench.put,
            "get": partial(_seconds, transfer.get, url),
            "callback": partial(_seconds, transfer.post_form, f"{plain.url}/callback", bench.large),
            "form": partial(_seconds, transfer.post_form, f"{plain.url}/form", bench.large),
            "plain put": partial(_seconds, transfer.put, f"{plain.url}/put", bench.large),
            "synced put": partial(_seconds, transfer.put, f"{plain.url}/put?synced", bench.large),
            "plain get": partial(_seconds, transfer.get, f"{plain.url}/put"),
        }
        await contenders["plain put"]()
        seconds = await interleaved(effort.rounds, {name: partial(_after_sync, run) for name, run in contenders.items()})
    await bench.inside.forget(media_id)
    rates = {name: [bench.rate_bytes / _MEGABYTE / taken for taken in all_taken] for name, all_taken in seconds.items()}
    return [
        compared("POST /transcribe : plain Starlette, callback parser", "MB/s", rates["steno"], rates["callback"]),
        compared("POST /transcribe : plain Starlette, request.form()", "MB/s", rates["steno"], rates["form"]),
        compared("POST /transcribe : PUT to the data plane", "MB/s", rates["steno"], rates["put"], at_least(0.65)),
        compared("PUT with SHA-256, synced : plain uvicorn PUT", "MB/s", rates["put"], rates["plain put"], at_least(0.4)),
        compared("PUT with SHA-256, synced : plain uvicorn PUT, synced", "MB/s", rates["put"], rates["synced put"]),
        compared("download : plain, 256 KB pieces", "MB/s", rates["get"], rates["plain get"], at_least(0.55)),
    ]


async def _seconds(move: Callable[..., transfer.Reply], *arguments: object) -> float:
    return (await asyncio.to_thread(move, *arguments)).seconds


async def _after_sync(run: Callable[[], Awaitable[float]]) -> float:
    """Whatever the one before left to be written is written first."""
    await asyncio.to_thread(os.sync)
    return await run()


async def _memory(bench: _Bench, job_id: str) -> list[Row]:
    """Peak growth of the service that grows most, and what a client reading a job feels meanwhile."""
    inference = bench.mesh.child_pid("inference") or 0
    _, idle = await _disturbed(bench, job_id, lambda: asyncio.sleep(_IDLE_SECONDS))
    one, during_one = await _disturbed(bench, job_id, lambda: bench.uploaded(bench.large))
    with paused(inference):
        eight, during_eight = await _disturbed(bench, job_id, lambda: _together(bench))
    return [
        *_growth("one upload", one, _ONE_UPLOAD_MEGABYTES),
        *_growth(f"{_TOGETHER} uploads at once", eight, _EIGHT_UPLOADS_MEGABYTES),
        compared("GET /jobs/{id} during one upload, p99 : idle", "ms", during_one, idle, no_more_than(_OTHERS_MILLISECONDS)),
        compared(f"GET /jobs/{{id}} during {_TOGETHER}, p99 : idle", "ms", during_eight, idle, no_more_than(_OTHERS_MILLISECONDS)),
    ]


def _growth(when: str, peaks: dict[str, int], megabytes: float) -> list[Row]:
    grown = {name: peak / _MEGABYTE for name, peak in peaks.items()}
    most = max(grown, key=lambda name: grown[name])
    others = ", ".join(f"{name} {peak:.1f}" for name, peak in grown.items() if name != most)
    return [single(f"memory growth, {when}: {most} ({others})", "MB", [grown[most]], no_more_than(megabytes))]


async def _together(bench: _Bench) -> None:
    async with asyncio.TaskGroup() as uploads:
        for number in range(_TOGETHER):
            uploads.create_task(bench.uploaded(bench.large), name=f"upload {number}")


async def _disturbed(bench: _Bench, job_id: str, disturb: Callable[[], Awaitable[object]]) -> tuple[dict[str, int], list[float]]:
    """Peak growth of each service in bytes, and the p99 in milliseconds of a steady reader."""
    stop = asyncio.Event()
    message = request("GET", f"/api/v1/jobs/{job_id}", api_key=bench.mesh.ready["api_key"])
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(paced(Address.of(bench.mesh.ready["url"]), message, _ASK_EVERY_SECONDS, stop), name="reader")
        with watched(pids(bench.mesh)) as growth:
            await disturb()
        stop.set()
    return growth.peaks, [percentile(reader.result(), 0.99)]
