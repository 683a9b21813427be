"""Dispatching, sweeping, reconciling and cleaning up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from prometheus_client import REGISTRY

from services.jobs.settings import JobsSettings
from services.mesh.deliveries import Delivery
from services.mesh.ids import new_id
from services.mesh.status import RemoteError
from services.mesh.streams import work_consumer
from steno.billing.v1.ledger_pb2 import Hold
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_events_pb2 import WorkDispatched
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import Owner, Stage, claim, until

LONG_AGO = timedelta(hours=1)


async def consume_work(mesh: Stage, taken: list[str], stopping: asyncio.Event) -> None:
    """Takes dispatched work off the queue, as inference does."""

    async def take(delivery: Delivery) -> None:
        taken.append(delivery.parse(WorkDispatched).job_id)

    await mesh.bus.consume(work_consumer("transcription"), take, stopping=stopping, concurrency=4)


@dataclass
class AtWork:
    """A worker as inference is one: it claims what it takes off the queue, and keeps the message until it may end."""

    claimed: list[str] = field(default_factory=list)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def a_worker(mesh: Stage, stub: Any, slots: int) -> AsyncIterator[AtWork]:
    """A worker while the block runs."""
    at_work, stopping = AtWork(), asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        job_id = delivery.parse(WorkDispatched).job_id
        try:
            await claim(stub, job_id)
        except RemoteError as error:
            if error.reason_name == "JOB_LEASED":
                return
            raise
        at_work.claimed.append(job_id)
        await at_work.may_end.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(mesh.bus.consume(work_consumer("transcription"), handle, stopping=stopping, concurrency=slots))
        try:
            yield at_work
        finally:
            at_work.may_end.set()
            stopping.set()


async def test_a_small_workspace_is_served_beside_a_flood(stage: StageFactory) -> None:
    async with stage(dispatch_window=4) as mesh, mesh.jobs():
        flood, small, worker = await mesh.owner("flood"), await mesh.owner("small"), await mesh.worker()
        await asyncio.gather(*(flood.create(mesh.storage.add_media("flood")) for _ in range(60)))
        mine = [(await small.create(mesh.storage.add_media("small"))).job.id for _ in range(3)]
        order: list[str] = []
        while not set(mine) <= set(order):
            await until(lambda: len(mesh.told) > 0 and len(_dispatched(mesh)) > len(order))
            job_id = _dispatched(mesh)[len(order)]
            await claim(worker, job_id)
            order.append(job_id)
        assert len(order) <= 4 + 2 * len(mine) + 1, "the small workspace waited behind the flood"


async def test_the_window_bounds_what_is_handed_out(stage: StageFactory) -> None:
    async with stage(dispatch_window=3, lost_dispatch_seconds=60) as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        jobs = [(await owner.create(mesh.storage.add_media("ws"))).job.id for _ in range(8)]
        await until(lambda: len(_dispatched(mesh)) == 3)
        assert _dispatched(mesh) == jobs[:3]
        await claim(worker, jobs[1])
        await until(lambda: len(_dispatched(mesh)) == 4)
        assert _dispatched(mesh)[3] == jobs[3]


async def test_work_that_vanished_from_the_queue_is_handed_out_again(stage: StageFactory) -> None:
    async with stage(lost_dispatch_seconds=0.2) as mesh, mesh.jobs():
        owner = await mesh.owner()
        stopping, taken = asyncio.Event(), list[str]()
        consuming = asyncio.create_task(consume_work(mesh, taken, stopping))
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        await until(lambda: taken.count(job.id) >= 2, "a worker that took the message and died left the job behind")
        stopping.set()
        await consuming


async def test_work_that_still_waits_in_the_queue_is_not_handed_out_twice(stage: StageFactory) -> None:
    async with stage(lost_dispatch_seconds=1.5, stale_dispatch_seconds=5.0) as mesh, mesh.jobs():
        owner = await mesh.owner()
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        await until(lambda: len(_dispatched(mesh)) == 1)
        first = asyncio.get_running_loop().time()
        await until(lambda: _dispatched(mesh) == [job.id, job.id])
        assert asyncio.get_running_loop().time() - first >= 2.5, "only age hands it out again"


async def test_work_that_waits_behind_a_busy_worker_is_not_handed_out_twice(stage: StageFactory) -> None:
    async with stage(lost_dispatch_seconds=1.5, stale_dispatch_seconds=5.0, sweep_interval_seconds=0.05) as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        async with a_worker(mesh, worker, slots=1) as at_work:
            jobs = [(await owner.create(mesh.storage.add_media("ws"))).job.id]
            await until(lambda: at_work.claimed == jobs)
            jobs += [(await owner.create(mesh.storage.add_media("ws"))).job.id for _ in range(3)]
            await until(lambda: _dispatched(mesh) == jobs)
            first = asyncio.get_running_loop().time()
            await until(lambda: len(_dispatched(mesh)) > len(jobs))
            assert asyncio.get_running_loop().time() - first >= 2.5, "only age hands out what still waits"
            at_work.may_end.set()
            await until(lambda: sorted(at_work.claimed) == sorted(jobs), "work that waited was lost")


async def test_workers_get_their_work_within_ten_seconds_of_a_wiped_queue(stage: StageFactory) -> None:
    defaults = ("dispatch_interval_seconds", "sweep_interval_seconds", "lost_dispatch_seconds")
    usual = {name: JobsSettings.model_fields[name].default for name in defaults}
    async with stage(**usual) as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        async with a_worker(mesh, worker, slots=2) as at_work:
            jobs = [(await owner.create(mesh.storage.add_media("ws"))).job.id for _ in range(8)]
            await until(lambda: len(at_work.claimed) == 2 and len(_dispatched(mesh)) == 8)
            mesh.nats.kill()
            mesh.nats.wipe()
            await mesh.nats.start()
            at_work.may_end.set()
            async with asyncio.timeout(60):
                await until(lambda: sorted(at_work.claimed) == sorted(jobs))


async def test_a_wiped_queue_loses_no_job(stage: StageFactory) -> None:
    async with stage(stale_dispatch_seconds=600, lost_dispatch_seconds=600) as mesh, mesh.jobs():
        owner = await mesh.owner()
        jobs = {(await owner.create(mesh.storage.add_media("ws"))).job.id for _ in range(12)}
        await until(lambda: set(_dispatched(mesh)) == jobs)
        mesh.nats.kill()
        mesh.nats.wipe()
        late = (await owner.create(mesh.storage.add_media("ws"))).job.id
        await mesh.nats.start()
        stopping, taken = asyncio.Event(), list[str]()
        consuming = asyncio.create_task(consume_work(mesh, taken, stopping))
        await until(lambda: set(taken) == jobs | {late})
        stopping.set()
        await consuming


async def test_open_holds_are_closed_as_their_jobs_ended(stage: StageFactory) -> None:
    async with stage(open_hold_seconds=0, orphan_hold_seconds=600) as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        done, cancelled, removed, queued = [(await owner.create(mesh.storage.add_media("ws"))).job.id for _ in range(4)]
        for job_id in (done, removed):
            fence = (await claim(worker, job_id)).fence
            await mesh.complete(job_id, fence, mesh.storage.add_artefact("ws"), billable_ms=42_000)
            await until(partial(_settled, mesh, job_id))
        await owner.cancel(cancelled)
        await owner.delete(removed)
        orphan, fresh = new_id(), new_id()
        mesh.billing.open_hold(orphan, "ws", create_time=datetime.now(UTC) - LONG_AGO)
        mesh.billing.open_hold(fresh, "ws", create_time=datetime.now(UTC) - timedelta(seconds=5))
        await until(lambda: {orphan, cancelled} <= set(mesh.billing.in_state(Hold.STATE_RELEASED)))
        assert set(mesh.billing.in_state(Hold.STATE_OPEN)) == {queued, fresh}
        assert {mesh.billing.holds[job_id].settled_ms for job_id in (done, removed)} == {42_000}


async def test_a_hold_that_its_holder_renews_stays_however_old_and_goes_once_that_stops(stage: StageFactory) -> None:
    async with stage(open_hold_seconds=0, orphan_hold_seconds=0) as mesh, mesh.jobs():
        renewed, forsaken, orphan, now = new_id(), new_id(), new_id(), datetime.now(UTC)
        mesh.billing.open_hold(renewed, "ws", create_time=now - LONG_AGO, expire_time=now + timedelta(seconds=600))
        mesh.billing.open_hold(forsaken, "ws", create_time=now - LONG_AGO, expire_time=now - timedelta(seconds=5))
        mesh.billing.open_hold(orphan, "ws", create_time=now - LONG_AGO)
        await until(lambda: {forsaken, orphan} <= set(mesh.billing.in_state(Hold.STATE_RELEASED)))
        assert mesh.billing.in_state(Hold.STATE_OPEN) == [renewed]


async def test_no_open_hold_hides_another(stage: StageFactory) -> None:
    async with stage(open_hold_seconds=0, orphan_hold_seconds=600, batch_size=1) as mesh, mesh.jobs():
        broken, *fresh, orphan = [new_id() for _ in range(32)]
        mesh.billing.refused.add(broken)
        for job_id in (broken, orphan):
            mesh.billing.open_hold(job_id, "ws", create_time=datetime.now(UTC) - LONG_AGO)
        for job_id in fresh:
            mesh.billing.open_hold(job_id, "ws", create_time=datetime.now(UTC) - timedelta(seconds=5))
        await until(lambda: mesh.billing.in_state(Hold.STATE_RELEASED) == [orphan], "the hold behind the others stayed open")
        assert set(mesh.billing.in_state(Hold.STATE_OPEN)) == {broken, *fresh}
        await until(lambda: REGISTRY.get_sample_value("steno_open_holds_without_job") == 1, "the one that stays is told")


async def test_an_ended_job_whose_hold_stays_open_is_told_until_it_is_closed(stage: StageFactory) -> None:
    def told() -> float | None:
        return REGISTRY.get_sample_value("steno_ended_jobs_without_settlement")

    async with stage(open_hold_seconds=0, orphan_hold_seconds=600) as mesh, mesh.jobs():
        owner = await mesh.owner()
        job_id = (await owner.create(mesh.storage.add_media("ws"))).job.id
        mesh.billing.refused.add(job_id)
        await owner.cancel(job_id)
        await until(lambda: told() == 1)
        mesh.billing.refused.clear()
        await until(lambda: told() == 0)
        assert mesh.billing.in_state(Hold.STATE_RELEASED) == [job_id]


async def test_a_hold_of_a_job_that_was_removed_is_still_charged(stage: StageFactory) -> None:
    async with stage(open_hold_seconds=600) as mesh:
        async with mesh.jobs():
            owner, worker = await mesh.owner(), await mesh.worker()
            job_id = (await owner.create(mesh.storage.add_media("ws"))).job.id
            fence = (await claim(worker, job_id)).fence
            await mesh.complete(job_id, fence, mesh.storage.add_artefact("ws"), billable_ms=42_000)
            await until(lambda: _in_state(owner, job_id, Job.STATE_DONE))
            await owner.delete(job_id)
            await until(lambda: not mesh.storage.media and not mesh.storage.artefacts)
        async with mesh.jobs(open_hold_seconds=0, orphan_hold_seconds=0):
            await until(lambda: _settled(mesh, job_id))
        assert mesh.billing.holds[job_id].settled_ms == 42_000


async def test_deleting_removes_media_and_transcript_once_storage_is_back(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner, worker = await mesh.owner(), await mesh.worker()
        made = await owner.create(mesh.storage.add_media("ws"), key="k")
        job_id = made.job.id
        artefact_id = mesh.storage.add_artefact("ws")
        await mesh.complete(job_id, (await claim(worker, job_id)).fence, artefact_id)
        await until(lambda: _in_state(owner, job_id, Job.STATE_DONE))
        mesh.storage.broken = True
        await owner.delete(job_id)
        for attempt in (owner.get, owner.delete, owner.cancel):
            with pytest.raises(RemoteError) as refusal:
                await attempt(job_id)
            assert refusal.value.reason_name == "JOB_NOT_FOUND"
        assert (await owner.list()).total_size == 0
        await until(lambda: mesh.storage.refusal_count >= 4)
        assert len(mesh.storage.media) == len(mesh.storage.artefacts) == 1
        mesh.storage.broken = False
        await until(lambda: not mesh.storage.media and not mesh.storage.artefacts)
        again = await owner.create(mesh.storage.add_media("ws"), key="k")
        assert not again.replayed
        late = mesh.storage.add_artefact("ws")
        await mesh.complete(job_id, 1, late, event_id="late")
        await until(lambda: not mesh.storage.artefacts, "a transcript later than its job stayed")


async def test_deleting_a_job_in_flight_cancels_it_and_deleting_it_again_removes_it(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        owner = await mesh.owner()
        job_id = (await owner.create(mesh.storage.add_media("ws"))).job.id
        await owner.delete(job_id)
        assert await owner.state(job_id) == Job.STATE_CANCELLED
        await until(lambda: not mesh.storage.media)
        await owner.delete(job_id)
        with pytest.raises(RemoteError):
            await owner.get(job_id)


def _dispatched(mesh: Stage) -> list[str]:
    return [event.job_id for event in mesh.told if isinstance(event, WorkDispatched)]


def _settled(mesh: Stage, job_id: str) -> bool:
    return job_id in mesh.billing.in_state(Hold.STATE_SETTLED)


async def _in_state(owner: Owner, job_id: str, state: int) -> bool:
    return await owner.state(job_id) == state
