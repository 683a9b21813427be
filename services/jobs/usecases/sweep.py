"""Putting right what was left undone: leases that ran out, tallies and tombstones that pile up."""

from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import PROCESSING, QUEUED, WORK_CLASSES, exhausted_error
from services.jobs.store.jobs import read_now
from services.jobs.store.listing import count_by_state, fold_tallies, list_crowded
from services.jobs.store.queue import list_expired, read_delays
from services.jobs.store.removals import prune_tombstones
from services.jobs.store.tables import inbox
from services.jobs.store.windows import prune_windows
from services.jobs.usecases.endings import fail_job, requeue_job
from services.jobs.usecases.resources import Resources
from services.mesh import fault, semconv
from services.mesh.inbox import prune_inbox
from steno.jobs.v1.job_pb2 import Job

_CROWDED_TALLIES = 200
_IN_HAND = {QUEUED: "queued", PROCESSING: "processing"}


async def sweep_leases(resources: Resources) -> int:
    """Jobs whose lease ran out are queued again, or failed when they were tried too often; answers how many."""
    async with resources.database.reading() as session:
        if not await list_expired(session, 1, hold=False):
            return 0
    async with resources.database.transaction() as session:
        rows = await list_expired(session, resources.policy.batch_size)
        jobs = [await _give_up_or_requeue(resources, session, row) for row in rows]
        fault.point("jobs.sweep.before_commit")
    fault.point("jobs.sweep.after_commit")
    for job in jobs:
        resources.announce(job)
    return len(jobs)


async def _give_up_or_requeue(resources: Resources, session: AsyncSession, row: Row[Any]) -> Job:
    if row.attempt >= resources.policy.max_attempts:
        return await fail_job(session, row, row.now, exhausted_error(row.attempt))
    return await requeue_job(session, row, row.create_time)


async def tidy(resources: Resources) -> None:
    """Folds tallies, forgets old tombstones, inbox entries and windows, counts what is in hand and tells how long it waits."""
    async with resources.database.reading() as session:
        crowded = await list_crowded(session, _CROWDED_TALLIES, resources.policy.batch_size)
    async with resources.database.transaction() as session:
        for row in crowded:
            await fold_tallies(session, row.workspace_id, row.owner)
        now = await read_now(session)
        await prune_tombstones(session, now - resources.policy.tombstone_age)
        await prune_windows(session, now - resources.policy.text_age)
        await prune_inbox(session, inbox)
        fault.point("jobs.tidy.before_commit")
    async with resources.database.reading() as session:
        counts = await count_by_state(session)
    for state, name in _IN_HAND.items():
        semconv.JOBS.labels(name).set(counts.get(state, 0))
    await _tell_delays(resources)


async def _tell_delays(resources: Resources) -> None:
    delays = await read_delays(resources.database)
    semconv.LEASE_OVERDUE_SECONDS.set(delays.overdue_seconds)
    for kind, ages in delays.by_kind.items():
        semconv.QUEUE_AGE_SECONDS.labels(WORK_CLASSES[kind]).set(ages.waiting)
        semconv.WORKING_AGE_SECONDS.labels(WORK_CLASSES[kind]).set(ages.working)
