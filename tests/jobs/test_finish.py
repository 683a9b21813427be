"""Results, failures, cancellations: one ending per job, told once."""

import asyncio
import itertools
from functools import partial
from typing import Any

import pytest

from services.mesh.ids import new_id
from services.mesh.status import RemoteError
from steno.jobs.v1 import work_service_pb2 as work_pb
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_events_pb2 import JobCancelled, JobFailed, JobSucceeded, WorkDispatched
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import Owner, Stage, claim, until


async def ended(owner: Owner, job_id: str) -> bool:
    return await owner.state(job_id) not in (Job.STATE_QUEUED, Job.STATE_PROCESSING)


async def test_a_result_ends_its_job_and_is_told_with_its_price(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws", duration_ms=60_000))).job
        fence = (await claim(worker, job.id)).fence
        artefact_id = mesh.storage.add_artefact("ws")
        facts: dict[str, Any] = {
            "language": "en",
            "speech_detected": True,
            "speech_ratio": 0.5,
            "audio_duration_ms": 60_500,
            "truncated": True,
        }
        await mesh.complete(job.id, fence, artefact_id, billable_ms=60_500, engine="local", model="m", **facts)
        await until(lambda: mesh.told_of(JobSucceeded, job.id))
        done = await owner.get(job.id)
        assert (done.state, done.progress, done.transcript_artefact_id) == (Job.STATE_DONE, 1.0, artefact_id)
        assert {name: getattr(done, name) for name in facts} == facts
        assert done.complete_time.ToNanoseconds() >= done.start_time.ToNanoseconds() >= done.create_time.ToNanoseconds()
        assert done.billable_ms == mesh.told_of(JobSucceeded, job.id)[0].billable_ms == 60_000, "a charge never exceeds the hold"


async def test_repeated_late_and_reordered_events_change_nothing(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        fence = (await claim(worker, job.id)).fence
        artefact_id = mesh.storage.add_artefact("ws")
        await mesh.complete(job.id, fence, artefact_id, billable_ms=7)
        await until(lambda: ended(owner, job.id))
        before = await owner.get(job.id)
        await asyncio.gather(
            mesh.complete(job.id, fence, artefact_id, event_id="again", billable_ms=9),
            mesh.fail(job.id, fence, retryable=False, event_id="late-1"),
            mesh.fail(job.id, fence, retryable=True, event_id="late-2"),
            mesh.fail(job.id, fence - 1, retryable=False, event_id="older"),
        )
        await mesh.complete(job.id, fence, loser := mesh.storage.add_artefact("ws"), event_id="other")
        await until(lambda: ("ws", loser) not in mesh.storage.artefacts, "the losing transcript stayed")
        assert ("ws", artefact_id) in mesh.storage.artefacts
        assert await owner.get(job.id) == before
        assert len(mesh.told_of(JobSucceeded, job.id)) == 1
        assert mesh.told_of(JobFailed, job.id) == []


async def test_a_transcript_of_an_unknown_job_is_removed(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        await mesh.complete(new_id(), 1, mesh.storage.add_artefact("ws"), event_id="unknown")
        await mesh.complete(new_id(), 1, mesh.storage.add_artefact("other"), event_id="unknown-too")
        await until(lambda: not mesh.storage.artefacts, "the transcript of an unknown job stayed")


async def test_every_order_of_delivery_ends_in_the_same_state(stage: StageFactory) -> None:
    """Two claims, the first one's failure and result, the second one's result: whatever comes first, the second claim counts."""
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        for number, order in enumerate(itertools.permutations(range(3))):
            job = (await owner.create(mesh.storage.add_media("ws"))).job
            old = (await claim(worker, job.id)).fence
            await worker.ReleaseWork(work_pb.ReleaseWorkRequest(job_id=job.id, fence=old))
            new = (await claim(worker, job.id)).fence
            winner = mesh.storage.add_artefact("ws")
            for which in (*order, *order):
                event_id = f"{number}:{which}"
                if which == 0:
                    await mesh.fail(job.id, old, retryable=False, event_id=event_id)
                elif which == 1:
                    await mesh.complete(job.id, old, mesh.storage.add_artefact("ws"), event_id=event_id)
                else:
                    await mesh.complete(job.id, new, winner, event_id=event_id)
            await until(partial(ended, owner, job.id))
            done = await owner.get(job.id)
            assert (done.state, done.transcript_artefact_id) == (Job.STATE_DONE, winner)


async def test_a_failure_that_may_pass_is_tried_again_until_it_is_enough(stage: StageFactory) -> None:
    async with stage(max_attempts=3) as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        for attempt in (1, 2, 3):
            await until(partial(_dispatched, mesh, job.id, attempt))
            taken = await claim(worker, job.id)
            assert taken.job.attempt == attempt
            await mesh.fail(job.id, taken.fence, retryable=True)
        await until(lambda: mesh.told_of(JobFailed, job.id))
        failed = await owner.get(job.id)
        assert (failed.state, failed.error.reason) == (Job.STATE_FAILED, "ATTEMPTS_EXHAUSTED")
        assert "It broke." in failed.error.message


async def test_a_failure_for_good_ends_the_job_with_its_reason(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        await mesh.fail(job.id, (await claim(worker, job.id)).fence, retryable=False)
        await until(lambda: mesh.told_of(JobFailed, job.id))
        failed = await owner.get(job.id)
        assert (failed.state, failed.error.reason, failed.error.message) == (Job.STATE_FAILED, "MEDIA_UNPROCESSABLE", "It broke.")


async def test_cancelling_stops_the_worker_and_removes_the_media(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        fence = (await claim(worker, job.id)).fence
        assert (await owner.cancel(job.id)).state == Job.STATE_CANCELLED
        for call in (
            worker.ExtendLease(work_pb.ExtendLeaseRequest(job_id=job.id, fence=fence)),
            worker.PutWindow(work_pb.PutWindowRequest(job_id=job.id, fence=fence, window=b"w")),
        ):
            with pytest.raises(RemoteError) as refusal:
                await call
            assert refusal.value.reason_name == "STALE_FENCE"
        with pytest.raises(RemoteError) as refusal:
            await owner.cancel(job.id)
        assert refusal.value.reason_name == "JOB_ALREADY_ENDED"
        await until(lambda: mesh.told_of(JobCancelled, job.id) and not mesh.storage.media)
        assert (await owner.get(job.id)).state == Job.STATE_CANCELLED


async def test_of_cancellation_and_completion_one_wins(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        jobs = [(await owner.create(mesh.storage.add_media("ws"))).job for _ in range(12)]
        fences = {job.id: (await claim(worker, job.id)).fence for job in jobs}
        finishes = [mesh.complete(job.id, fences[job.id], mesh.storage.add_artefact("ws")) for job in jobs]
        cancels = [owner.cancel(job.id) for job in jobs]
        await asyncio.gather(*itertools.chain(*zip(finishes, cancels, strict=True)), return_exceptions=True)
        for job in jobs:
            await until(partial(_told_ending, mesh, job.id))
            now = await owner.get(job.id)
            told = (len(mesh.told_of(JobSucceeded, job.id)), len(mesh.told_of(JobCancelled, job.id)))
            assert told == ((1, 0) if now.state == Job.STATE_DONE else (0, 1))
        await until(lambda: len(mesh.storage.media) == len(mesh.storage.artefacts), "a loser's bytes stayed")


def _dispatched(mesh: Stage, job_id: str, times: int) -> bool:
    return len(mesh.told_of(WorkDispatched, job_id)) >= times


def _told_ending(mesh: Stage, job_id: str) -> bool:
    return bool(mesh.told_of(JobSucceeded, job_id) + mesh.told_of(JobCancelled, job_id))


async def announce(worker: Any, mesh: Stage, job_id: str, fence: int) -> str:
    """What a worker does before it stores a result: an artefact in storage, told with the next report."""
    artefact_id = mesh.storage.add_artefact("ws")
    await worker.ExtendLease(work_pb.ExtendLeaseRequest(job_id=job_id, fence=fence, transcript_artefact_id=artefact_id))
    return artefact_id


async def test_a_transcript_whose_worker_died_before_telling_of_it_is_removed(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        dead = (await claim(worker, job.id)).fence
        first, second = [await announce(worker, mesh, job.id, dead) for _ in range(2)]
        await worker.ReleaseWork(work_pb.ReleaseWorkRequest(job_id=job.id, fence=dead))
        fence = (await claim(worker, job.id)).fence
        winner = await announce(worker, mesh, job.id, fence)
        assert mesh.storage.artefacts == {("ws", artefact_id) for artefact_id in (first, second, winner)}, "until then any may count"
        await mesh.complete(job.id, fence, winner)
        await until(lambda: mesh.storage.artefacts == {("ws", winner)}, "the dead worker's transcripts stayed")
        assert (await owner.get(job.id)).transcript_artefact_id == winner


async def test_a_job_that_ends_without_a_result_keeps_none(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        cancelled, failed = [(await owner.create(mesh.storage.add_media("ws"))).job for _ in range(2)]
        for job in (cancelled, failed):
            await announce(worker, mesh, job.id, (await claim(worker, job.id)).fence)
        await owner.cancel(cancelled.id)
        await mesh.fail(failed.id, 1, retryable=False)
        await until(lambda: not mesh.storage.artefacts, "a transcript of no job stayed")


async def test_a_result_counts_whose_worker_could_not_announce_it(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        fence = (await claim(worker, job.id)).fence
        await announce(worker, mesh, job.id, fence)
        await mesh.complete(job.id, fence, winner := mesh.storage.add_artefact("ws"))
        await until(lambda: mesh.storage.artefacts == {("ws", winner)}, "the announced one stayed, or the result went")
