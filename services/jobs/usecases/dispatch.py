"""Handing jobs out: round robin over workspaces, into a shallow window."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.store.jobs import read_now, touch_job
from services.jobs.store.queue import count_dispatched, glance, next_waiting, recall_dispatched
from services.jobs.store.tables import outbox
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.outbox import publish_all_later
from services.mesh.streams import work_subject
from steno.jobs.v1.jobs_events_pb2 import WorkDispatched

WORK_CLASS = "transcription"


@dataclass(frozen=True)
class Round:
    """How far a round came: the workspace served last, and how many jobs were handed out."""

    workspace_id: str
    job_count: int


async def dispatch_round(resources: Resources, last_workspace_id: str) -> Round:
    """Hands out as many waiting jobs as the window has room for, one workspace after the other."""
    if not await _anything_to_do(resources):
        return Round(last_workspace_id, 0)
    served = Round(last_workspace_id, 0)
    events: list[tuple[str, Message]] = []
    async with resources.database.transaction() as session:
        now = await read_now(session)
        room = resources.policy.dispatch_window - await count_dispatched(session)
        while served.job_count < room and (row := await _next(session, served.workspace_id, now)) is not None:
            await touch_job(session, row, dispatch_time=now)
            events.append((work_subject(WORK_CLASS), WorkDispatched(job_id=row.id)))
            served = Round(row.workspace_id, served.job_count + 1)
        await publish_all_later(session, outbox, events)
        fault.point("jobs.dispatch.before_commit")
    fault.point("jobs.dispatch.after_commit")
    if served.job_count:
        resources.wake_relay()
    return served


async def _anything_to_do(resources: Resources) -> bool:
    """A look that does not keep writers waiting."""
    seen = await glance(resources.database)
    return bool(seen.waiting) and seen.dispatched < resources.policy.dispatch_window


async def _next(session: AsyncSession, after_workspace_id: str, now: datetime) -> Row[Any] | None:
    row = await next_waiting(session, after_workspace_id, now)
    return row if row is not None or not after_workspace_id else await next_waiting(session, "", now)


async def recall_lost(resources: Resources, *, queue_is_empty: bool) -> int:
    """Jobs that the queue lost wait for the dispatcher again; answers how many.

    queue_is_empty: the queue holds no message, so that whatever was handed out a while ago is lost.
    """
    policy = resources.policy
    age = policy.lost_dispatch_age if queue_is_empty else policy.stale_dispatch_age
    return await _recall(resources, age.total_seconds())


async def recall_all(resources: Resources) -> int:
    """Every job handed out waits again: the queue's store was replaced. Answers how many."""
    return await _recall(resources, 0.0)


async def _recall(resources: Resources, age_seconds: float) -> int:
    async with resources.database.reading() as session:
        if not await count_dispatched(session):
            return 0
    async with resources.database.transaction() as session:
        count = await recall_dispatched(session, age_seconds)
        fault.point("jobs.recall.before_commit")
    if count:
        resources.work_waiting.set()
    return count
