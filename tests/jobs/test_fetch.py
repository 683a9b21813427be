"""Jobs that were submitted with a URL."""

import asyncio
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import update

from services.jobs.app import SCHEMA
from services.jobs.store.jobs import JOB
from services.mesh.database import open_database
from services.mesh.errors import FetchFailed, InvalidArgument, ResourceExhausted, ServiceUnavailable
from services.mesh.ids import is_id
from services.mesh.status import RemoteError
from steno.billing.v1.ledger_pb2 import Hold
from steno.billing.v1.workspace_pb2 import Plan
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_events_pb2 import JobFailed, WorkDispatched
from steno.jobs.v1.jobs_service_pb2 import CreateJobRequest
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import Owner, Stage, claim, until
from tests.jobs.test_access import refusal
from tests.servers import free_port

URL = "https://media.example.com/shows/Episode%20412.mp3?token=1"


class BrokenMedia(InvalidArgument):
    """The right kind of file, but nothing in it decodes."""


class StoreFull(ResourceExhausted):
    """The store has no room."""


async def failed(owner: Owner, job_id: str) -> bool:
    """Whether the job has failed."""
    return await owner.state(job_id) == Job.STATE_FAILED


async def ready(owner: Owner, job_id: str) -> bool:
    """Whether the job waits for nothing but a worker."""
    return (await owner.get(job_id)).waiting == Job.WAITING_UNSPECIFIED


def fetched(mesh: Stage, times: int) -> bool:
    """Whether storage was asked so often."""
    return len(mesh.storage.fetches) >= times


async def test_a_url_is_fetched_for_its_owner_within_the_plan_then_held_and_dispatched(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        mesh.billing.plans["u1"] = Plan(name="p", retention_days=30, max_upload_bytes=1000, max_duration_ms=2000)
        mesh.storage.may_fetch.clear()
        user = await mesh.user("u1")
        job = (await user.submit_url(URL, diarize=True)).job
        assert (job.state, job.waiting, job.filename) == (Job.STATE_QUEUED, Job.WAITING_FETCH, "Episode 412.mp3")
        assert is_id(job.media_id)
        await until(lambda: fetched(mesh, 1))
        assert not mesh.billing.holds
        assert not mesh.told_of(WorkDispatched, job.id)
        request, caller = mesh.storage.fetches[0], mesh.storage.fetchers[0]
        assert (request.media_id, request.url, request.max_size_bytes, request.max_duration_ms) == (job.media_id, URL, 1000, 2000)
        assert (caller.workspace_id, caller.owner, caller.wallet_id) == ("ws", "user:u1", "u1")
        worker = await mesh.worker()
        with pytest.raises(RemoteError) as early:
            await claim(worker, job.id)
        assert early.value.reason_name == "JOB_LEASED"
        mesh.storage.may_fetch.set()
        await until(lambda: mesh.told_of(WorkDispatched, job.id))
        now = await user.get(job.id)
        assert (now.audio_duration_ms, now.waiting, now.retention_days, now.attempt) == (60_000, 0, 30, 0)
        assert (mesh.billing.holds[job.id].amount_ms, mesh.billing.holds[job.id].workspace_id) == (60_000, "u1")
        await mesh.complete(job.id, (await claim(worker, job.id)).fence, mesh.storage.add_artefact("ws"))
        await until(partial(_done, user, job.id))


async def test_urls_that_lead_nowhere_are_refused_at_once(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        for url in ("ftp://example.com/a", "file:///etc/passwd", "http://127.0.0.1/a", "http://u:p@example.com/", "example.com"):
            assert (await refusal(owner.submit_url(url))).reason_name == "INVALID_URL"
        both = CreateJobRequest(url=URL, media_id=mesh.storage.add_media("ws"), source=Job.SOURCE_URL)
        for request in (both, CreateJobRequest(source=Job.SOURCE_URL)):
            assert (await refusal(owner.call("CreateJob", request))).reason_name == "INVALID_FIELD"
        assert not mesh.storage.fetches
        assert (await owner.list()).total_size == 0


async def test_a_caller_without_any_credit_is_refused_at_once_and_its_key_stays_free(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        mesh.billing.credit_ms["ws"] = 0
        assert (await refusal(owner.submit_url(URL, key="k"))).reason_name == "NO_CREDITS"
        assert (await refusal(owner.announce(key="k"))).reason_name == "NO_CREDITS"
        assert not mesh.storage.uploads
        mesh.billing.plans["ws"] = Plan(name="p", retention_days=30, overage_limit_ms=1)
        assert not (await owner.submit_url(URL, key="k")).replayed


async def test_a_guest_may_overdraw_what_its_workspace_may(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        mesh.billing.credit_ms["ws"] = 0
        guest = await mesh.guest()
        assert (await refusal(guest.submit_url(URL))).reason_name == "NO_CREDITS"
        mesh.billing.plans["ws"] = Plan(name="p", retention_days=30, overage_limit_ms=1000)
        assert (await guest.submit_url(URL)).claim_token


async def test_credit_that_does_not_cover_the_media_fails_the_job_uncharged(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        mesh.billing.credit_ms["ws"] = 59_999
        job = (await owner.submit_url(URL)).job
        await until(lambda: mesh.told_of(JobFailed, job.id))
        assert (await owner.get(job.id)).error.reason == "NO_CREDITS"
        await until(lambda: not mesh.storage.media, "the media of the failed job stayed")
        assert not mesh.billing.holds


@pytest.mark.parametrize("error", [FetchFailed(), BrokenMedia()])
async def test_a_refusal_of_storage_fails_the_job_with_its_reason(stage: StageFactory, error: FetchFailed | BrokenMedia) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        mesh.storage.fetch_errors.append(error)
        job = (await owner.submit_url(URL)).job
        await until(partial(failed, owner, job.id))
        now = await owner.get(job.id)
        assert (now.error.reason, now.error.message, now.waiting) == (error.reason(), error.message, 0)
        assert (len(mesh.storage.fetches), mesh.billing.holds) == (1, {})
        assert now.HasField("audio_expire_time")


async def test_what_may_pass_is_tried_again_under_the_same_media_id_but_not_for_ever(stage: StageFactory) -> None:
    async with stage(max_attempts=3) as mesh, mesh.jobs():
        owner = await mesh.owner()
        mesh.storage.fetch_errors += [StoreFull(), ServiceUnavailable(service="storage"), StoreFull(), StoreFull()]
        job = (await owner.submit_url(URL)).job
        await until(lambda: mesh.told_of(WorkDispatched, job.id))
        assert [request.media_id for request in mesh.storage.fetches] == [job.media_id] * 5
        mesh.storage.fetch_errors += [ServiceUnavailable(service="storage") for _ in range(3)]
        doomed = (await owner.submit_url(URL)).job
        await until(partial(failed, owner, doomed.id))
        assert (await owner.get(doomed.id)).error.reason == "ATTEMPTS_EXHAUSTED"
        assert len(mesh.storage.fetches) == 8


async def test_a_hold_that_billing_cannot_take_now_is_taken_later(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        mesh.billing.down = True
        job = (await owner.submit_url(URL)).job
        await until(lambda: fetched(mesh, 1) and mesh.billing.reserve_count)
        mesh.billing.down = False
        await until(lambda: mesh.told_of(WorkDispatched, job.id))
        assert mesh.billing.in_state(Hold.STATE_OPEN) == [job.id]


async def test_a_long_absence_of_billing_fails_no_job(stage: StageFactory) -> None:
    async with stage(max_attempts=2) as mesh, mesh.jobs():
        owner = await mesh.owner()
        mesh.billing.down = True
        job = (await owner.submit_url(URL)).job
        await until(lambda: fetched(mesh, 4))
        mesh.billing.down = False
        await until(lambda: mesh.told_of(WorkDispatched, job.id))


async def test_a_fetch_that_takes_too_long_fails_the_job(stage: StageFactory) -> None:
    async with stage(fetch_seconds=0.3) as mesh, mesh.jobs():
        owner = await mesh.owner()
        mesh.storage.may_fetch.clear()
        job = (await owner.submit_url(URL)).job
        await until(partial(failed, owner, job.id))
        assert (await owner.get(job.id)).error.reason == "FETCH_FAILED"


async def test_cancelling_stops_the_fetch_wherever_it_runs(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        async with mesh.jobs(port=(other_port := free_port())):
            here, there = await mesh.owner(), await mesh.owner(port=other_port)
            for owner in (here, there):
                aborted = mesh.storage.aborted_fetches
                mesh.storage.may_fetch.clear()
                job = (await here.submit_url(URL)).job
                await until(partial(fetched, mesh, aborted + 1))
                assert (await owner.cancel(job.id)).state == Job.STATE_CANCELLED
                await until(partial(_aborted, mesh, aborted + 1))
                assert (await owner.get(job.id)).state == Job.STATE_CANCELLED
            assert not mesh.billing.holds


async def test_media_that_came_after_its_job_was_cancelled_goes_too(stage: StageFactory) -> None:
    async with stage(orphan_media_interval_seconds=0.1) as mesh:
        async with mesh.jobs():
            owner = await mesh.owner()
            mesh.storage.may_fetch.clear()
            job = (await owner.submit_url(URL)).job
            await until(lambda: fetched(mesh, 1))
            await owner.cancel(job.id)
            await until(lambda: mesh.storage.aborted_fetches)
        late = mesh.storage.media.pop(("ws", mesh.storage.add_media("ws", age=timedelta(hours=3))))
        late.id = job.media_id
        mesh.storage.media["ws", job.media_id] = late
        async with mesh.jobs():
            await until(lambda: not mesh.storage.media)


async def test_a_fetch_of_a_service_that_stops_goes_on_elsewhere_without_counting(stage: StageFactory) -> None:
    async with stage(max_attempts=1) as mesh:
        async with mesh.jobs():
            owner = await mesh.owner()
            mesh.storage.may_fetch.clear()
            job = (await owner.submit_url(URL)).job
            await until(lambda: fetched(mesh, 1))
        mesh.storage.may_fetch.set()
        async with mesh.jobs():
            await until(lambda: mesh.told_of(WorkDispatched, job.id))
        assert {request.media_id for request in mesh.storage.fetches} == {job.media_id}


async def test_a_fetch_keeps_its_job_past_the_first_lease(stage: StageFactory) -> None:
    async with stage(lease_seconds=3.0) as mesh, mesh.jobs(), mesh.jobs(port=free_port()):
        owner = await mesh.owner()
        mesh.storage.may_fetch.clear()
        job = (await owner.submit_url(URL)).job
        await until(lambda: fetched(mesh, 1))
        other = [(await owner.submit_url(f"{URL}&n={number}")).job for number in range(3)]
        await until(lambda: fetched(mesh, 4))
        end = asyncio.get_running_loop().time() + 4.5
        await until(lambda: asyncio.get_running_loop().time() > end)
        assert len(mesh.storage.fetches) == 4, "a fetch was taken over from a fetcher that was at work"
        mesh.storage.may_fetch.set()
        for each in (job, *other):
            await until(partial(ready, owner, each.id))
        assert len(mesh.storage.fetches) == 4


async def test_the_fetch_of_a_fetcher_that_died_is_taken_over(stage: StageFactory) -> None:
    async with stage(lease_seconds=0.5) as mesh:
        async with mesh.jobs(fetch_interval_seconds=600, fetch_slots=1):
            owner = await mesh.owner()
            mesh.storage.may_fetch.clear()
            job = (await owner.submit_url(URL)).job
            await until(lambda: fetched(mesh, 1))
            async with mesh.jobs(port=free_port()):
                await until(partial(_taken_over, mesh, job.id))
                mesh.storage.may_fetch.set()
                await until(lambda: mesh.told_of(WorkDispatched, job.id))
        assert {request.media_id for request in mesh.storage.fetches} == {job.media_id}
        assert mesh.billing.in_state(Hold.STATE_OPEN) == [job.id]


async def test_many_urls_of_one_owner_hold_up_no_one_else(stage: StageFactory) -> None:
    async with stage(fetch_slots=2) as mesh, mesh.jobs():
        greedy, modest = await mesh.owner(), await mesh.user("u1")
        mesh.storage.may_fetch.clear()
        for number in range(6):
            await greedy.submit_url(f"{URL}&n={number}")
        last = (await modest.submit_url(URL)).job
        await until(lambda: fetched(mesh, 2))
        mesh.storage.may_fetch.set()
        await until(partial(ready, modest, last.id))
        assert last.media_id in {request.media_id for request in mesh.storage.fetches[:4]}
        await until(lambda: fetched(mesh, 7))


async def test_one_key_makes_one_job_of_a_url(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        answers = await asyncio.gather(*(owner.submit_url(URL, key="k") for _ in range(40)))
        assert len({answer.job.id for answer in answers}) == 1
        assert sorted(answer.replayed for answer in answers) == [False] + [True] * 39
        assert (await refusal(owner.submit_url("https://example.com/other.mp3", key="k"))).reason_name == "IDEMPOTENCY_KEY_REUSED"
        assert (await refusal(owner.submit_url(URL, key="k", diarize=True))).reason_name == "IDEMPOTENCY_KEY_REUSED"
        await until(lambda: mesh.told_of(WorkDispatched, answers[0].job.id))
        assert (len(mesh.storage.fetches), mesh.billing.in_state(Hold.STATE_OPEN)) == (1, [answers[0].job.id])


async def test_a_guests_url_job_is_paid_by_the_user_who_claims_it_in_time(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs(fetch_interval_seconds=0.1):
        mesh.storage.may_fetch.clear()
        guest, user = await mesh.guest(), await mesh.user("u1")
        mesh.storage.fetch_errors.append(ServiceUnavailable(service="storage"))
        made = await guest.submit_url(URL)
        assert made.claim_token
        await until(lambda: fetched(mesh, 1))
        assert await user.claim(made.claim_token) == 1
        mesh.storage.may_fetch.set()
        await until(lambda: mesh.told_of(WorkDispatched, made.job.id))
        assert mesh.billing.holds[made.job.id].workspace_id == "u1"


def _aborted(mesh: Stage, times: int) -> bool:
    return mesh.storage.aborted_fetches >= times


async def _done(owner: Owner, job_id: str) -> bool:
    return await owner.state(job_id) == Job.STATE_DONE


async def _taken_over(mesh: Stage, job_id: str) -> bool:
    """Whether another fetcher is at work. The first one lives and renews its lease, so that it is lost once more each time."""
    await _lose_lease(mesh, job_id)
    return fetched(mesh, 2)


async def _lose_lease(mesh: Stage, job_id: str) -> None:
    """As if the fetcher had not been heard of for long."""
    async with open_database(mesh.settings.database_url, schema=SCHEMA) as database, database.transaction() as session:
        lost = update(JOB).where(JOB.c.id == job_id).values(due_time=JOB.c.create_time)
        await (await session.connection()).execute(lost)
