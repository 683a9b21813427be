"""Handing jobs out: round robin over workspaces, into a shallow window for each class of work, so that none waits for another."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import WORK_CLASSES
from services.jobs.store.jobs import read_now, touch_job
from services.jobs.store.queue import count_dispatched, dispatched_kinds, glance, next_waiting, recall_dispatched
from services.jobs.store.tables import outbox
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.outbox import publish_all_later
from services.mesh.streams import work_subject
from steno.jobs.v1.jobs_events_pb2 import WorkDispatched


@dataclass(frozen=True)
class Round:
    """How far a round came: the workspace served last, and how many jobs were handed out."""

    workspace_id: str
    job_count: int


async def dispatch_round(resources: Resources, kind: int, last_workspace_id: str) -> Round:
    """Hands out as many waiting jobs of the kind as its window has room for, one workspace after the other."""
    served = Round(last_workspace_id, 0)
    events: list[tuple[str, Message]] = []
    trace_parents: list[str] = []
    async with resources.database.transaction() as session:
        now = await read_now(session)
        room = resources.policy.dispatch_window - await count_dispatched(session, kind)
        while served.job_count < room and (row := await _next(session, kind, served.workspace_id, now)) is not None:
            await touch_job(session, row, dispatch_time=now)
            events.append((work_subject(WORK_CLASSES[kind]), WorkDispatched(job_id=row.id)))
            trace_parents.append(row.trace_parent)
            served = Round(row.workspace_id, served.job_count + 1)
        await publish_all_later(session, outbox, events, trace_parents)
        fault.point("jobs.dispatch.before_commit")
    fault.point("jobs.dispatch.after_commit")
    if served.job_count:
        resources.wake_relay()
    return served


async def kinds_to_serve(resources: Resources) -> list[int]:
    """The kinds of which a job is due and the window has room. A look that does not keep writers waiting."""
    seen = await glance(resources.database)
    return [kind for kind, sight in seen.items() if sight.waiting and sight.dispatched < resources.policy.dispatch_window]


async def _next(session: AsyncSession, kind: int, after_workspace_id: str, now: datetime) -> Row[Any] | None:
    row = await next_waiting(session, kind, after_workspace_id, now)
    return row if row is not None or not after_workspace_id else await next_waiting(session, kind, "", now)


async def kinds_handed_out(resources: Resources) -> list[int]:
    """The kinds of the jobs that were handed out and not taken yet."""
    async with resources.database.reading() as session:
        return await dispatched_kinds(session)


async def recall_lost(resources: Resources, kinds: Collection[int], *, queue_is_empty: bool) -> int:
    """Jobs of the kinds that the queue lost wait for the dispatcher again; answers how many.

    queue_is_empty: the queue of these kinds holds no message, so that whatever was handed out a while ago is lost.
    """
    policy = resources.policy
    age = policy.lost_dispatch_age if queue_is_empty else policy.stale_dispatch_age
    return await _recall(resources, kinds, age.total_seconds())


async def recall_all(resources: Resources) -> int:
    """Every job handed out waits again: the queue's store was replaced. Answers how many."""
    return await _recall(resources, WORK_CLASSES, 0.0)


async def _recall(resources: Resources, kinds: Collection[int], age_seconds: float) -> int:
    if not await kinds_handed_out(resources):
        return 0
    async with resources.database.transaction() as session:
        count = await recall_dispatched(session, kinds, age_seconds)
        fault.point("jobs.recall.before_commit")
    if count:
        resources.work_waiting.set()
    return count
