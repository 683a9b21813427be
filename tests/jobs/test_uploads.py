"""Jobs that wait for their client's own upload."""

import asyncio
from functools import partial

import pytest

from services.mesh.errors import FailedPrecondition, InvalidArgument
from services.mesh.status import RemoteError
from steno.billing.v1.ledger_pb2 import Hold
from steno.billing.v1.workspace_pb2 import Plan
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_events_pb2 import JobCancelled, JobFailed, WorkDispatched
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import claim, until
from tests.jobs.test_access import refusal
from tests.jobs.test_fetch import failed
from tests.servers import free_port


class BrokenMedia(InvalidArgument):
    """The right kind of file, but nothing in it decodes."""


class UploadIncomplete(FailedPrecondition):
    """The announced bytes have not all arrived."""


async def test_an_announced_upload_becomes_work_once_it_is_complete(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        mesh.billing.plans["ws"] = Plan(name="p", retention_days=7, max_upload_bytes=1000)
        owner, worker = await mesh.owner(), await mesh.worker()
        made = await owner.announce("show.mp3", max_size_bytes=5000)
        job = made.job
        assert (job.state, job.waiting, job.filename, job.retention_days) == (Job.STATE_QUEUED, Job.WAITING_UPLOAD, "show.mp3", 7)
        assert made.upload_url.url == f"http://storage/{job.media_id}?n=1"
        assert mesh.storage.signatures == [1000], "the plan's limit is the lower one"
        with pytest.raises(RemoteError):
            await claim(worker, job.id)
        completed = await owner.complete(job.id)
        assert (completed.waiting, completed.audio_duration_ms) == (0, 60_000)
        await until(lambda: mesh.told_of(WorkDispatched, job.id))
        assert mesh.billing.holds[job.id].amount_ms == 60_000
        assert (await owner.complete(job.id)).id == job.id
        await claim(worker, job.id)
        assert (await owner.complete(job.id)).state == Job.STATE_PROCESSING


async def test_replays_answer_a_fresh_url_while_the_upload_is_awaited(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, other = await mesh.owner(), await mesh.owner(owner="user:u2")
        answers = await asyncio.gather(*(owner.announce("a.mp3", "k") for _ in range(40)))
        assert len({answer.job.id for answer in answers}) == 1
        assert sorted(answer.replayed for answer in answers) == [False] + [True] * 39
        assert len({answer.upload_url.url for answer in answers}) == 40
        assert {answer.upload_url.url.split("?")[0] for answer in answers} == {f"http://storage/{answers[0].job.media_id}"}
        assert list(mesh.storage.uploads) == [("ws", answers[0].job.media_id)], "uploads of lost races stayed"
        for asking, filename in ((owner, "b.mp3"), (other, "a.mp3")):
            assert (await refusal(asking.announce(filename, "k"))).reason_name == "IDEMPOTENCY_KEY_REUSED"
        await owner.complete(answers[0].job.id)
        late = await owner.announce("a.mp3", "k")
        assert (late.replayed, late.HasField("upload_url")) == (True, False)


async def test_many_completions_at_once_make_one_hold_on_two_replicas(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs(), mesh.jobs(port=(other_port := free_port())):
        owners = [await mesh.owner(), await mesh.owner(port=other_port)]
        job = (await owners[0].announce()).job
        answers = await asyncio.gather(*(owners[number % 2].complete(job.id) for number in range(20)))
        assert {(answer.id, answer.waiting) for answer in answers} == {(job.id, 0)}
        assert list(mesh.billing.holds) == mesh.billing.in_state(Hold.STATE_OPEN) == [job.id]
        await until(lambda: mesh.told_of(WorkDispatched, job.id))
        assert (await owners[0].list()).total_size == 1


async def test_an_upload_that_has_not_arrived_can_be_completed_later(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        job = (await owner.announce()).job
        mesh.storage.commit_error = UploadIncomplete()
        assert (await refusal(owner.complete(job.id))).reason_name == "UPLOAD_INCOMPLETE"
        mesh.storage.commit_error = None
        assert (await owner.get(job.id)).waiting == Job.WAITING_UPLOAD
        assert (await owner.complete(job.id)).waiting == 0


async def test_refused_media_ends_the_job_with_its_reason(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        job = (await owner.announce()).job
        mesh.storage.commit_error = BrokenMedia()
        refusals = await asyncio.gather(*(refusal(owner.complete(job.id)) for _ in range(8)))
        assert sorted(error.reason_name for error in refusals) == ["BROKEN_MEDIA"] + ["JOB_ALREADY_ENDED"] * 7
        await until(lambda: mesh.told_of(JobFailed, job.id))
        assert (await owner.get(job.id)).error.reason == "BROKEN_MEDIA"
        assert not mesh.billing.holds


async def test_an_upload_beyond_the_credit_ends_the_job_and_goes(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        job = (await owner.announce()).job
        mesh.billing.credit_ms["ws"] = 59_999
        error = await refusal(owner.complete(job.id))
        assert (error.reason_name, error.metadata["required_ms"]) == ("NO_CREDITS", "60000")
        assert (await owner.get(job.id)).error.reason == "NO_CREDITS"
        await until(lambda: not mesh.storage.media)


async def test_a_completion_is_tried_again_while_billing_is_down(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        job = (await owner.announce()).job
        mesh.billing.down = True
        assert (await refusal(owner.complete(job.id))).code.name == "UNAVAILABLE"
        mesh.billing.down = False
        assert (await owner.complete(job.id)).waiting == 0
        assert mesh.billing.in_state(Hold.STATE_OPEN) == [job.id]


async def test_an_upload_that_never_comes_fails_the_job(stage: StageFactory) -> None:
    async with stage(upload_seconds=0.3) as mesh, mesh.jobs():
        owner = await mesh.owner()
        job = (await owner.announce(key="k")).job
        await until(partial(failed, owner, job.id))
        assert (await owner.get(job.id)).error.reason == "UPLOAD_EXPIRED"
        assert (await refusal(owner.complete(job.id))).reason_name == "UPLOAD_EXPIRED"
        await until(lambda: not mesh.storage.uploads)
        again = await owner.announce(key="k")
        assert (again.replayed, again.HasField("upload_url")) == (True, False)


async def test_uploads_that_never_come_do_not_pile_up(stage: StageFactory) -> None:
    async with stage(upload_seconds=0.3, upload_interval_seconds=4.0, cleanup_interval_seconds=4.0, batch_size=2) as mesh, mesh.jobs():
        owner = await mesh.owner()
        jobs = [(await owner.announce()).job for _ in range(16)]
        async with asyncio.timeout(20):
            for job in jobs:
                await until(partial(failed, owner, job.id))
            await until(lambda: not mesh.storage.uploads)


async def test_an_upload_that_storage_forgot_has_expired(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        job = (await owner.announce()).job
        mesh.storage.uploads.clear()
        assert (await refusal(owner.complete(job.id))).reason_name == "UPLOAD_EXPIRED"
        assert (await owner.get(job.id)).error.reason == "UPLOAD_EXPIRED"


async def test_a_cancelled_upload_is_not_taken_in_and_its_hold_is_given_back(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        jobs = [(await owner.announce()).job for _ in range(12)]
        calls = [call for job in jobs for call in (owner.complete(job.id), owner.cancel(job.id))]
        await asyncio.gather(*calls, return_exceptions=True)
        for job in jobs:
            assert (await owner.get(job.id)).state == Job.STATE_CANCELLED
        await until(lambda: not mesh.storage.media and not mesh.storage.uploads)
        completed = {job.id for job in jobs if mesh.told_of(JobCancelled, job.id) and mesh.told_of(WorkDispatched, job.id)}
        await until(lambda: set(mesh.billing.in_state(Hold.STATE_OPEN)) <= completed, "a hold that no event gives back stayed open")


async def test_media_of_jobs_that_wait_is_no_orphan(stage: StageFactory) -> None:
    async with stage(orphan_media_interval_seconds=0.1) as mesh, mesh.jobs():
        owner = await mesh.owner()
        mesh.billing.down = True
        job = (await owner.announce()).job
        await refusal(owner.complete(job.id))
        media = mesh.storage.media["ws", job.media_id]
        media.create_time.seconds -= 3 * 3600
        walks = len(mesh.storage.listings)
        await until(lambda: len(mesh.storage.listings) > walks + 5)
        assert list(mesh.storage.media) == [("ws", job.media_id)]


async def test_a_guest_completes_with_its_claim_token(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        guest = await mesh.guest()
        made = await guest.announce()
        assert (await refusal(guest.complete(made.job.id))).reason_name == "AUTHENTICATION_REQUIRED"
        assert (await (await mesh.user("u1", made.claim_token)).complete(made.job.id)).waiting == 0
        assert mesh.billing.holds[made.job.id].workspace_id == "ws", "who submitted it pays"
