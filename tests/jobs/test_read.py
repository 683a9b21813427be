"""Reading, listing and following jobs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.mesh.status import RemoteError
from steno.jobs.v1 import work_service_pb2 as work_pb
from steno.jobs.v1.job_pb2 import Job
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import Owner, claim, until
from tests.servers import free_port


async def test_foreign_jobs_look_like_jobs_that_never_were(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        strangers = [await mesh.owner("other"), await mesh.owner("ws", owner="user:a@example.org")]
        for stranger in strangers:
            for job_id in (job.id, "0190a7a0-0000-7000-8000-000000000000"):
                for attempt in (stranger.get, stranger.cancel, stranger.delete):
                    with pytest.raises(RemoteError) as refusal:
                        await attempt(job_id)
                    assert (refusal.value.reason_name, refusal.value.metadata) == ("JOB_NOT_FOUND", {"job_id": job_id})
                with pytest.raises(RemoteError) as refusal:
                    await anext(stranger.watch(job_id))
                assert refusal.value.reason_name == "JOB_NOT_FOUND"
            assert (await stranger.list()).total_size == 0
        assert await owner.get(job.id) == job


async def pages(owner: Owner, **request: Any) -> list[str]:
    """The ids on all pages."""
    ids: list[str] = []
    token = ""
    while True:
        page = await owner.list(page_token=token, **request)
        ids += [job.id for job in page.jobs]
        token = page.next_page_token
        if not token:
            return ids


async def test_pages_hold_every_job_once_while_jobs_arrive(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        before = [(await owner.create(mesh.storage.add_media("ws"))).job.id for _ in range(23)]
        newest_first = before[::-1]
        arriving = asyncio.gather(*(owner.create(mesh.storage.add_media("ws")) for _ in range(30)))
        seen = await pages(owner, page_size=4)
        await arriving
        assert [job_id for job_id in seen if job_id in before] == newest_first
        assert len(seen) == len(set(seen))
        assert await pages(owner, page_size=7, skip=0) == await pages(owner, page_size=100)
        assert [job.id for job in (await owner.list(page_size=5, skip=40)).jobs] == newest_first[10:15]
        assert list((await owner.list(skip=1000)).jobs) == []


async def test_totals_and_state_filters_are_right_after_every_change(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        jobs = [(await owner.create(mesh.storage.add_media("ws"))).job.id for _ in range(6)]
        await (await mesh.owner("other")).create(mesh.storage.add_media("other"))
        await owner.cancel(jobs[0])
        taken = await claim(worker, jobs[1])
        done = await claim(worker, jobs[2])
        await mesh.complete(jobs[2], done.fence, mesh.storage.add_artefact("ws"))
        await until(lambda: _in_state(owner, jobs[2], Job.STATE_DONE))

        async def of(*states: int) -> tuple[int, list[str]]:
            page = await owner.list(states=states)
            return page.total_size, [job.id for job in page.jobs]

        assert await of(Job.STATE_QUEUED) == (3, jobs[:2:-1])
        assert await of(Job.STATE_PROCESSING) == (1, [jobs[1]])
        assert await of(Job.STATE_CANCELLED, Job.STATE_DONE) == (2, [jobs[2], jobs[0]])
        assert await pages(owner, page_size=1, states=[Job.STATE_DONE, Job.STATE_CANCELLED]) == [jobs[2], jobs[0]]
        await owner.delete(jobs[2])
        await worker.ReleaseWork(work_pb.ReleaseWorkRequest(job_id=jobs[1], fence=taken.fence))
        assert await of() == (5, [jobs[5], jobs[4], jobs[3], jobs[1], jobs[0]])
        assert await of(Job.STATE_QUEUED) == (4, [jobs[5], jobs[4], jobs[3], jobs[1]])


async def test_totals_stay_right_when_tallies_are_folded(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        jobs = await asyncio.gather(*(owner.create(mesh.storage.add_media("ws")) for _ in range(210)))
        await asyncio.gather(*(owner.cancel(answer.job.id) for answer in jobs[:7]))
        assert (await owner.list()).total_size == 210
        assert (await owner.list(states=[Job.STATE_QUEUED])).total_size == 203
        assert (await owner.list(states=[Job.STATE_CANCELLED])).total_size == 7


async def test_foreign_and_made_up_page_tokens_are_refused(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, stranger = await mesh.owner(), await mesh.owner("other")
        for _ in range(3):
            await owner.create(mesh.storage.add_media("ws"))
        token = (await owner.list(page_size=1)).next_page_token
        foreign: tuple[tuple[Owner, dict[str, Any]], ...] = (
            (stranger, {"page_token": token}),
            (owner, {"page_token": token, "states": [Job.STATE_QUEUED]}),
            (owner, {"page_token": "abc"}),
            (owner, {"page_token": "A" * len(token)}),
        )
        for asking, request in foreign:
            with pytest.raises(RemoteError) as refusal:
                await asking.list(**request)
            assert refusal.value.reason_name == "INVALID_PAGE_TOKEN"
        out_of_range: tuple[dict[str, Any], ...] = ({"page_size": 101}, {"page_size": -1}, {"skip": -1}, {"states": [9]})
        for request in out_of_range:
            with pytest.raises(RemoteError) as refusal:
                await owner.list(**request)
            assert refusal.value.reason_name == "INVALID_FIELD"


async def test_a_watcher_sees_every_revision_in_order_and_resumes(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        seen: list[Job] = []
        watching = asyncio.create_task(_collect(owner, job.id, seen))
        await until(lambda: seen)
        fence = (await claim(worker, job.id)).fence
        for step in range(1, 10):
            await worker.ExtendLease(work_pb.ExtendLeaseRequest(job_id=job.id, fence=fence, progress=step / 10))
        await mesh.complete(job.id, fence, mesh.storage.add_artefact("ws"))
        await asyncio.wait_for(watching, 10)
        assert [change.revision for change in seen] == list(range(1, 13))
        assert [round(change.progress, 1) for change in seen[2:]] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
        assert seen[-1].state == Job.STATE_DONE
        resumed: list[Job] = []
        await asyncio.wait_for(_collect(owner, job.id, resumed, after_revision=11), 10)
        assert [change.revision for change in resumed] == [12]
        await asyncio.wait_for(_collect(owner, job.id, resumed, after_revision=12), 10)
        assert len(resumed) == 1


async def test_a_watcher_sees_what_another_replica_changes(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs(), mesh.jobs(port=(other_port := free_port())):
        here, there = await mesh.owner(), await mesh.owner(port=other_port)
        job = (await here.create(mesh.storage.add_media("ws"))).job
        seen: list[Job] = []
        watching = asyncio.create_task(_collect(here, job.id, seen))
        await until(lambda: seen)
        await there.cancel(job.id)
        await asyncio.wait_for(watching, 10)
        assert seen[-1].state == Job.STATE_CANCELLED


async def test_watchers_are_sent_away_when_the_service_ends(stage: StageFactory) -> None:
    async with stage() as mesh:
        async with mesh.jobs() as lifecycle:
            owner = await mesh.owner()
            job = (await owner.create(mesh.storage.add_media("ws"))).job
            changes = owner.watch(job.id)
            assert (await anext(changes)).revision == 1
            lifecycle.stop()
            with pytest.raises(RemoteError) as refusal:
                await anext(changes)
            assert refusal.value.code.name == "UNAVAILABLE"


async def test_watches_are_bounded(stage: StageFactory) -> None:
    async with stage(watch_limit=1) as mesh, mesh.jobs():
        owner = await mesh.owner()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        first = owner.watch(job.id)
        await anext(first)
        with pytest.raises(RemoteError) as refusal:
            await anext(owner.watch(job.id))
        assert refusal.value.reason_name == "OVERLOADED"
        await owner.cancel(job.id)
        assert [change.state async for change in first] == [Job.STATE_CANCELLED]


async def _collect(owner: Owner, job_id: str, seen: list[Job], after_revision: int = 0) -> None:
    async for change in owner.watch(job_id, after_revision):
        seen.append(change)  # noqa: PERF401 - what was seen so far is read meanwhile


async def _in_state(owner: Owner, job_id: str, state: int) -> bool:
    return await owner.state(job_id) == state


async def _to_the_end(watched: AsyncIterator[Job]) -> None:
    async for _ in watched:
        pass


async def test_a_watch_ends_when_its_job_was_deleted_elsewhere(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        async with mesh.jobs(port=(other_port := free_port()), watch_interval_seconds=3.0):
            here, there = await mesh.owner(), await mesh.owner(port=other_port)
            job = (await here.create(mesh.storage.add_media("ws"))).job
            watched = there.watch(job.id)
            await anext(watched)
            await here.delete(job.id)
            await here.delete(job.id)
            with pytest.raises(RemoteError) as ended:
                await asyncio.wait_for(_to_the_end(watched), 10)
            assert ended.value.reason_name == "SERVICE_UNAVAILABLE"
            with pytest.raises(RemoteError) as gone:
                await anext(there.watch(job.id))
            assert gone.value.reason_name == "JOB_NOT_FOUND"
