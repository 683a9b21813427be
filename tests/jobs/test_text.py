"""Following the text of a job, and figures over jobs."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from services.jobs.app import SCHEMA
from services.jobs.store.windows import WINDOW
from services.mesh.database import open_database
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1 import work_service_pb2 as work_pb
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import SummarizeJobsRequest, SummarizeJobsResponse
from steno.jobs.v1.transcript_pb2 import Word
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import Owner, Stage, claim, until
from tests.jobs.test_access import refusal
from tests.servers import free_port


def window(text: str, start_ms: int = 1) -> bytes:
    """A finished window with these words."""
    return WindowTranscript(start_offset_ms=start_ms, words=[Word(text=word) for word in text.split()]).SerializeToString()


async def put(worker: Any, job_id: str, fence: int, index: int, text: str) -> None:
    """Stores a window as inference does."""
    await worker.PutWindow(work_pb.PutWindowRequest(job_id=job_id, fence=fence, index=index, window=window(text)))


async def follow(owner: Owner, job_id: str, heard: list[str]) -> None:
    """Keeps what is told."""
    async for piece in owner.watch_text(job_id):
        heard.append(piece)  # noqa: PERF401 - what was heard so far is read meanwhile


async def done(owner: Owner, job_id: str) -> bool:
    return await owner.state(job_id) == Job.STATE_DONE


async def test_text_is_told_in_order_once_what_came_before_is_finished(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs(), mesh.jobs(port=(other_port := free_port())):
        owner, elsewhere, worker = await mesh.owner(), await mesh.owner(port=other_port), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        heard: tuple[list[str], list[str]] = ([], [])
        watching = [asyncio.create_task(follow(asking, job.id, words)) for asking, words in zip((owner, elsewhere), heard, strict=True)]
        fence = (await claim(worker, job.id)).fence
        await put(worker, job.id, fence, 2, "third one")
        await put(worker, job.id, fence, 0, "first")
        for words in heard:
            await until(partial(list.__eq__, words, ["first"]))
        await put(worker, job.id, fence, 1, "")
        for words in heard:
            await until(partial(list.__eq__, words, ["first", "third one"]))
        for index in range(3, 30):
            await put(worker, job.id, fence, index, f"piece {index}")
        await mesh.complete(job.id, fence, mesh.storage.add_artefact("ws"))
        await asyncio.wait_for(asyncio.gather(*watching), 15)
        assert heard[0] == heard[1] == ["first", "third one", *(f"piece {index}" for index in range(3, 30))]


async def test_text_behind_a_window_that_never_came_is_told_at_the_end(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        fence = (await claim(worker, job.id)).fence
        heard: list[str] = []
        watching = asyncio.create_task(follow(owner, job.id, heard))
        await put(worker, job.id, fence, 0, "first")
        await worker.PutWindow(work_pb.PutWindowRequest(job_id=job.id, fence=fence, index=2, window=b"\xff\xff"))
        await put(worker, job.id, fence, 3, "last")
        await until(lambda: heard == ["first"])
        await mesh.complete(job.id, fence, mesh.storage.add_artefact("ws"))
        await asyncio.wait_for(watching, 15)
        assert heard == ["first", "last"]


async def test_nothing_of_a_deleted_or_cancelled_job_is_told(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        mesh.storage.broken = True
        cancelled, deleted = [(await owner.create(mesh.storage.add_media("ws"))).job for _ in range(2)]
        for job in (cancelled, deleted):
            await put(worker, job.id, (await claim(worker, job.id)).fence, 0, "secret")
        await owner.cancel(cancelled.id)
        heard: list[str] = []
        await follow(owner, cancelled.id, heard)
        assert heard == []
        await mesh.complete(deleted.id, 1, mesh.storage.add_artefact("ws"))
        await until(partial(done, owner, deleted.id))
        await follow(owner, deleted.id, heard)
        assert heard == ["secret"], "who asks just after the end still hears it"
        await owner.delete(deleted.id)
        assert (await refusal(anext(owner.watch_text(deleted.id)))).reason_name == "JOB_NOT_FOUND"
        assert await windows_left(mesh) == 0


async def windows_left(mesh: Stage) -> int:
    """Checkpoints in the database."""
    async with open_database(mesh.settings.database_url, schema=SCHEMA) as database:
        return len(await database.read_all(WINDOW.select()))


async def summary(owner: Owner, begin: datetime | None = None, end: datetime | None = None) -> tuple[int, int, int, int]:
    """Total, done, failed and audio of a span."""
    request = SummarizeJobsRequest()
    if begin is not None:
        request.start_time.FromDatetime(begin)
    if end is not None:
        request.end_time.FromDatetime(end)
    figures: SummarizeJobsResponse = await owner.call("SummarizeJobs", request)
    return figures.total_count, figures.done_count, figures.failed_count, figures.audio_duration_ms


async def test_figures_count_what_was_accepted_within_the_span_deleted_or_not(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker, other = await mesh.owner(), await mesh.worker(), await mesh.user("u1")
        await other.create(mesh.storage.add_media("ws"))
        jobs = [(await owner.create(mesh.storage.add_media("ws"))).job for _ in range(6)]
        for job in jobs[:3]:
            fence = (await claim(worker, job.id)).fence
            await mesh.complete(job.id, fence, mesh.storage.add_artefact("ws"), audio_duration_ms=1000)
            await until(partial(done, owner, job.id))
        await mesh.fail(jobs[3].id, (await claim(worker, jobs[3].id)).fence, retryable=False)
        await until(lambda: _is_failed(owner, jobs[3].id))
        await owner.cancel(jobs[4].id)
        assert await summary(owner) == (6, 3, 1, 3000)
        mesh.storage.broken = True
        await owner.delete(jobs[0].id)
        assert await summary(owner) == (6, 3, 1, 3000), "a deleted job whose bytes are still to go was forgotten"
        mesh.storage.broken = False
        await until(lambda: ("ws", jobs[0].media_id) not in mesh.storage.media)
        await until(lambda: len(mesh.storage.artefacts) == 2)
        await owner.delete(jobs[3].id)
        assert await summary(owner) == (6, 3, 1, 3000)
        second = jobs[2].create_time.ToDatetime(tzinfo=UTC)
        assert await summary(owner, second) == (4, 1, 1, 1000)
        assert await summary(owner, second, second) == (0, 0, 0, 0)
        assert await summary(owner, None, second) == (2, 2, 0, 2000)
        assert await summary(owner, datetime.now(UTC) + timedelta(days=1)) == (0, 0, 0, 0)
        broken = SummarizeJobsRequest()
        broken.start_time.seconds = 2**60
        assert (await refusal(owner.call("SummarizeJobs", broken))).reason_name == "INVALID_FIELD"


async def _is_failed(owner: Owner, job_id: str) -> bool:
    return await owner.state(job_id) == Job.STATE_FAILED
