"""Claims, leases, fences and checkpoints."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from services.mesh.status import RemoteError
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1 import work_service_pb2 as pb
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_events_pb2 import JobFailed, JobSucceeded, WorkDispatched
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import claim, until


async def test_of_many_claims_one_wins(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        claims = await asyncio.gather(*(claim(worker, job.id, f"worker-{n}") for n in range(16)), return_exceptions=True)
        won = [answer for answer in claims if isinstance(answer, pb.ClaimWorkResponse)]
        lost = [answer.reason_name for answer in claims if isinstance(answer, RemoteError)]
        assert len(won) == 1
        assert lost == ["JOB_LEASED"] * 15
        assert (won[0].fence, won[0].job.state, won[0].job.attempt) == (1, Job.STATE_PROCESSING, 1)
        assert won[0].lease_duration.ToTimedelta().total_seconds() == mesh.settings.lease_seconds
        assert won[0].job.HasField("start_time")


async def test_a_worker_that_was_overtaken_can_write_nothing(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        zombie = (await claim(worker, job.id)).fence
        await worker.ReleaseWork(pb.ReleaseWorkRequest(job_id=job.id, fence=zombie))
        fence = (await claim(worker, job.id, "worker-2")).fence
        assert fence == zombie + 1
        writes = [
            worker.ExtendLease(pb.ExtendLeaseRequest(job_id=job.id, fence=zombie, progress=0.9)),
            worker.PutWindow(pb.PutWindowRequest(job_id=job.id, fence=zombie, index=0, window=b"old")),
            worker.ReleaseWork(pb.ReleaseWorkRequest(job_id=job.id, fence=zombie)),
        ]
        for write in writes:
            with pytest.raises(RemoteError) as refusal:
                await write
            assert refusal.value.reason_name == "STALE_FENCE"
        artefact_id = mesh.storage.add_artefact("ws")
        await mesh.complete(job.id, zombie, artefact_id)
        await until(lambda: not mesh.storage.artefacts, "the losing transcript stayed in storage")
        assert [window async for window in worker.ListWindows(pb.ListWindowsRequest(job_id=job.id, fence=fence))] == []
        assert (await owner.get(job.id)).state == Job.STATE_PROCESSING


async def test_progress_and_findings_show_and_never_fall(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        fence = (await claim(worker, job.id)).fence
        report = pb.ExtendLeaseRequest(job_id=job.id, fence=fence, progress=0.5, speech_detected=True, speech_ratio=0.75)
        report.engine, report.model = "local", "pocketsphinx-en-us"
        await worker.ExtendLease(report)
        for progress in (0.25, float("nan"), -1.0):
            await worker.ExtendLease(pb.ExtendLeaseRequest(job_id=job.id, fence=fence, progress=progress))
        now = await owner.get(job.id)
        assert (now.progress, now.speech_detected, now.speech_ratio, now.engine) == (0.5, True, 0.75, "local")
        assert now.revision == 3
        await worker.ExtendLease(pb.ExtendLeaseRequest(job_id=job.id, fence=fence, progress=7.0))
        assert (await owner.get(job.id)).progress == 1.0


async def test_windows_outlive_their_claim_and_give_attempts_back(stage: StageFactory) -> None:
    async with stage(lease_seconds=0.2) as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        fence = (await claim(worker, job.id)).fence
        for index in (2, 0, 1, *range(3, 20)):
            await worker.PutWindow(pb.PutWindowRequest(job_id=job.id, fence=fence, index=index, window=b"w%d" % index))
        await worker.PutWindow(pb.PutWindowRequest(job_id=job.id, fence=fence, index=2, window=b"again", progress=0.3))
        assert (await owner.get(job.id)).attempt == 0
        await until(lambda: _is(owner, job.id, Job.STATE_QUEUED), "the lease never ran out")
        second = await claim(worker, job.id, "worker-2")
        windows = [answer async for answer in worker.ListWindows(pb.ListWindowsRequest(job_id=job.id, fence=second.fence))]
        assert [answer.index for answer in windows] == list(range(20))
        assert windows[2].window == b"again"
        await mesh.complete(job.id, second.fence, mesh.storage.add_artefact("ws"))
        await until(lambda: _is(owner, job.id, Job.STATE_DONE))
        with pytest.raises(RemoteError):
            await claim(worker, job.id)
        stale = worker.ListWindows(pb.ListWindowsRequest(job_id=job.id, fence=second.fence))
        with pytest.raises(RemoteError) as refusal:
            await anext(aiter(stale))
        assert refusal.value.reason_name == "STALE_FENCE"


async def test_a_gap_gives_no_attempts_back(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        fence = (await claim(worker, job.id)).fence
        gap, text = WindowTranscript(gap_reason="WINDOW_FAILED"), WindowTranscript(language="en")
        for index, (window, attempt) in enumerate(((gap, 1), (text, 0))):
            await worker.PutWindow(pb.PutWindowRequest(job_id=job.id, fence=fence, index=index, window=window.SerializeToString()))
            assert (await owner.get(job.id)).attempt == attempt


async def test_work_given_back_for_ever_fails_at_last(stage: StageFactory) -> None:
    async with stage(max_claims=3) as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        for _ in range(3):
            fence = (await claim(worker, job.id)).fence
            await worker.ReleaseWork(pb.ReleaseWorkRequest(job_id=job.id, fence=fence))
        with pytest.raises(RemoteError) as refusal:
            await claim(worker, job.id)
        assert refusal.value.reason_name == "JOB_ALREADY_ENDED"
        now = await owner.get(job.id)
        assert (now.state, now.error.reason) == (Job.STATE_FAILED, "ATTEMPTS_EXHAUSTED")


async def test_work_given_back_waits_and_does_not_count(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        await until(lambda: len(mesh.told_of(WorkDispatched, job.id)) == 1)
        fence = (await claim(worker, job.id)).fence
        request = pb.ReleaseWorkRequest(job_id=job.id, fence=fence)
        request.delay.FromMilliseconds(300)
        released = asyncio.get_running_loop().time()
        await worker.ReleaseWork(request)
        now = await owner.get(job.id)
        assert (now.state, now.attempt) == (Job.STATE_QUEUED, 0)
        await until(lambda: len(mesh.told_of(WorkDispatched, job.id)) == 2)
        assert asyncio.get_running_loop().time() - released >= 0.29


async def test_a_worker_that_reports_keeps_its_job_past_the_first_lease(stage: StageFactory) -> None:
    async with stage(lease_seconds=1.0) as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        fence = (await claim(worker, job.id)).fence
        end = asyncio.get_running_loop().time() + 2.5
        reports: itertools.cycle[Callable[[], Any]] = itertools.cycle(
            (
                lambda: worker.ExtendLease(pb.ExtendLeaseRequest(job_id=job.id, fence=fence)),
                lambda: worker.PutWindow(pb.PutWindowRequest(job_id=job.id, fence=fence, window=b"w")),
            )
        )
        while asyncio.get_running_loop().time() < end:
            await next(reports)()
        assert (await owner.get(job.id)).state == Job.STATE_PROCESSING
        assert mesh.told_of(WorkDispatched, job.id)[1:] == []


async def test_a_dead_workers_job_is_dispatched_again_and_finishes(stage: StageFactory) -> None:
    async with stage(lease_seconds=0.2) as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        await until(lambda: len(mesh.told_of(WorkDispatched, job.id)) == 1)
        await claim(worker, job.id)
        await until(lambda: len(mesh.told_of(WorkDispatched, job.id)) == 2)
        second = await claim(worker, job.id, "worker-2")
        assert (second.fence, second.job.attempt) == (2, 2)
        await mesh.complete(job.id, second.fence, mesh.storage.add_artefact("ws"), billable_ms=1, speech_detected=True)
        await until(lambda: mesh.told_of(JobSucceeded, job.id))


async def test_a_job_that_kills_its_workers_fails_in_the_end(stage: StageFactory) -> None:
    async with stage(lease_seconds=0.05, max_attempts=3) as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        for attempt in (1, 2, 3):
            assert (await claim(worker, job.id)).job.attempt == attempt
            await until(lambda: _left(owner, job.id, Job.STATE_PROCESSING))
        failed = await owner.get(job.id)
        assert (failed.state, failed.error.reason) == (Job.STATE_FAILED, "ATTEMPTS_EXHAUSTED")
        await until(lambda: mesh.told_of(JobFailed, job.id))
        assert mesh.told_of(JobFailed, job.id)[0].error == failed.error


async def test_a_result_later_than_its_lease_counts_until_the_next_claim(stage: StageFactory) -> None:
    async with stage(lease_seconds=0.05) as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        fence = (await claim(worker, job.id)).fence
        await until(lambda: _is(owner, job.id, Job.STATE_QUEUED))
        await mesh.complete(job.id, fence, mesh.storage.add_artefact("ws"))
        await until(lambda: _is(owner, job.id, Job.STATE_DONE))


async def test_work_that_is_not_there_or_over_cannot_be_claimed(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        await owner.cancel(job.id)
        for job_id, reason in ((job.id, "JOB_ALREADY_ENDED"), ("no-such-job", "JOB_NOT_FOUND")):
            with pytest.raises(RemoteError) as refusal:
                await claim(worker, job_id)
            assert refusal.value.reason_name == reason


async def test_an_oversized_window_is_refused(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        worker = await mesh.worker()
        for index, window in ((0, b"x" * (2**20 + 1)), (-1, b"x"), (0, b"")):
            with pytest.raises(RemoteError) as refusal:
                await worker.PutWindow(pb.PutWindowRequest(job_id="any", fence=1, index=index, window=window))
            assert refusal.value.reason_name == "INVALID_FIELD"


async def _is(owner: object, job_id: str, state: int) -> bool:
    return await owner.state(job_id) == state  # type: ignore[attr-defined, no-any-return]


async def _left(owner: object, job_id: str, state: int) -> bool:
    return not await _is(owner, job_id, state)
