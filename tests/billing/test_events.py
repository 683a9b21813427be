"""The ends of jobs, heard on the bus."""

import asyncio

from services.billing.events import HOLDS
from services.mesh.bus import open_bus
from services.mesh.deliveries import Delivery
from services.mesh.ids import new_id
from services.mesh.streams import dead_subject, event_subject
from steno.jobs.v1.jobs_events_pb2 import JobCancelled, JobFailed, JobSucceeded
from tests.billing.service import DEADLINE_SECONDS, Running, until
from tests.billing.stage import MINUTE_MS


async def test_the_end_of_a_job_ends_its_hold_once(service: Running) -> None:
    workspace_id = await service.new_workspace()
    jobs = [new_id() for _ in range(4)]
    for job_id in jobs:
        await service.reserve(workspace_id, job_id)
    charged, silent, failed, cancelled = jobs
    events = [
        JobSucceeded(job_id=charged, workspace_id=workspace_id, billable_ms=7 * MINUTE_MS),
        JobSucceeded(job_id=silent, workspace_id=workspace_id, billable_ms=0),
        JobFailed(job_id=failed, workspace_id=workspace_id),
        JobCancelled(job_id=cancelled, workspace_id=workspace_id),
    ]
    async with open_bus(service.settings.nats_url, name="test") as bus:
        for _ in range(2):
            for event in events:
                await bus.publish(event_subject("jobs", type(event)), event, event_id=new_id())

        async def drained() -> bool:
            pending = await bus.pending(HOLDS)
            return pending.waiting == pending.outstanding == 0

        await until(drained, "the events to be taken")
    assert await service.balance(workspace_id) == (93, 0, 7)


async def test_events_that_can_never_succeed_are_buried_with_their_reason(service: Running) -> None:
    workspace_id, job_id = await service.new_workspace(), new_id()
    await service.reserve(workspace_id, job_id)
    hopeless = [
        JobSucceeded(job_id=new_id(), workspace_id=workspace_id, billable_ms=1),
        JobFailed(job_id=job_id, workspace_id=new_id()),
        JobSucceeded(job_id=job_id, workspace_id=workspace_id, billable_ms=-1),
    ]
    buried: asyncio.Queue[str] = asyncio.Queue()

    async def heard(delivery: Delivery) -> None:
        buried.put_nowait(delivery.message_type)

    async with open_bus(service.settings.nats_url, name="test") as bus, bus.watch(dead_subject(HOLDS.name), heard):
        early = [kind(job_id=new_id(), workspace_id=workspace_id, without_media=True) for kind in (JobFailed, JobCancelled)]
        for event in (*early, *hopeless):
            await bus.publish(event_subject("jobs", type(event)), event, event_id=new_id())
        async with asyncio.timeout(DEADLINE_SECONDS):
            types = [await buried.get() for _ in hopeless]
    assert sorted(types) == ["steno.jobs.v1.JobFailed", "steno.jobs.v1.JobSucceeded", "steno.jobs.v1.JobSucceeded"]
    assert await service.balance(workspace_id) == (90, 10, 0)
