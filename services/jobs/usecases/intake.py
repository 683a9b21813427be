"""Storing orders: those that wait at the same moment are stored by the same few statements."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from functools import partial

from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import READY
from services.jobs.store.jobs import insert_jobs, to_proto
from services.jobs.store.keys import ClientKey, KeyUse, free_keys, take_keys
from services.jobs.store.tables import outbox
from services.mesh import fault
from services.mesh.database import Database, retried
from services.mesh.errors import Overloaded, Unavailable
from services.mesh.identity import Caller
from services.mesh.outbox import publish_all_later
from services.mesh.streams import event_subject
from services.mesh.tracing.spans import current_parent
from steno.jobs.v1.job_pb2 import Job, TranscriptionConfig
from steno.jobs.v1.jobs_events_pb2 import JobQueued
from steno.storage.v1.media_pb2 import Media

_BATCH_ORDERS = 64
_QUEUED_ORDERS = 1024
_LOOPS = {"sqlite": 1, "postgresql": 2}


@dataclass(frozen=True)
class Order:
    """All that a job is made from; `reserve_time` is when its hold was asked for, on the monotonic clock.

    waiting: for what media, a Job.Waiting; until it has come, `media` has no more than an id and a name, and nothing is on hold.
    trace_parent: of the request.
    """

    job_id: str
    caller: Caller
    client_key: ClientKey | None
    fingerprint: str
    config: TranscriptionConfig
    source: int
    media: Media
    reserve_time: float = 0.0
    title: str = ""
    key_ttl: timedelta | None = None
    url: str = ""
    waiting: int = READY
    retention_days: int = 0
    claim_digest: str | None = None
    trace_parent: str = field(default_factory=current_parent)

    @property
    def held_ms(self) -> int:
        """What is put on hold, in milliseconds."""
        return held_ms(self.media) if self.waiting == READY else 0


def held_ms(media: Media) -> int:
    """What media asks to put on hold, in milliseconds; more than nothing."""
    return max(1, media.probe.duration_ms)


class Refusal(Enum):
    """Why an order was not stored."""

    KEY_TAKEN = auto()
    MEDIA_TAKEN = auto()
    TOO_LATE = auto()


Outcome = Job | Refusal


@dataclass(frozen=True)
class _Waiting:
    order: Order
    answer: asyncio.Future[Outcome] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Intake:
    """A bounded queue of orders and the loops that store them; use `open_intake`."""

    def __init__(self, database: Database, reserve_seconds: float) -> None:
        self._database = database
        self._reserve_seconds = reserve_seconds
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(_QUEUED_ORDERS)

    async def store(self, order: Order) -> Outcome:
        """The stored job, committed, or why there is none. Raises Overloaded, ServiceUnavailable."""
        waiting = _Waiting(order)
        try:
            self._queue.put_nowait(waiting)
        except asyncio.QueueFull:
            raise Overloaded from None
        return await waiting.answer

    async def run(self) -> None:
        """Store orders until cancelled."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < _BATCH_ORDERS and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            await self._store(batch)

    async def _store(self, batch: Sequence[_Waiting]) -> None:
        unit = partial(_insert, orders=[waiting.order for waiting in batch], reserve_seconds=self._reserve_seconds)
        try:
            outcomes = await retried(partial(self._database.grouped, unit))
        except Exception as error:  # told to those who wait
            await self._failed(batch, error)
            return
        fault.point("jobs.create.after_commit")
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_result(outcomes[waiting.order.job_id])

    async def _failed(self, batch: Sequence[_Waiting], error: Exception) -> None:
        """An order that cannot be stored does not take the others with it.

        After a commit of unknown outcome nothing is stored again: an order would meet its own key and give its hold back.
        """
        if len(batch) > 1 and not isinstance(error, Overloaded | Unavailable):
            for waiting in batch:
                await self._store([waiting])
            return
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)


async def _insert(session: AsyncSession, orders: Sequence[Order], reserve_seconds: float) -> Mapping[str, Outcome]:
    # Reconciling may already count an older hold as an orphan.
    now = time.monotonic()
    outcomes: dict[str, Outcome] = {order.job_id: Refusal.TOO_LATE for order in orders}
    timely = [order for order in orders if now - order.reserve_time <= reserve_seconds]
    uses = {order.job_id: KeyUse(order.client_key, order.fingerprint, order.key_ttl) for order in timely if order.client_key}
    taken = await take_keys(session, uses)
    outcomes |= {order.job_id: Refusal.KEY_TAKEN for order in timely}
    first = [order for order in timely if order.client_key is None or order.job_id in taken]
    outcomes |= {order.job_id: Refusal.MEDIA_TAKEN for order in first}
    jobs = {row.id: to_proto(row) for row in await insert_jobs(session, [_row(order) for order in first])}
    fault.point("jobs.create.after_rows")
    if unmade := taken - set(jobs):
        await free_keys(session, unmade)
    subject = event_subject("jobs", JobQueued)
    events = [(subject, JobQueued(job_id=job.id, workspace_id=job.workspace_id)) for job in jobs.values()]
    parents = {order.job_id: order.trace_parent for order in first}
    await publish_all_later(session, outbox, events, [parents[job_id] for job_id in jobs])
    fault.point("jobs.create.before_commit")
    return outcomes | jobs


def _row(order: Order) -> dict[str, object]:
    return {
        "id": order.job_id,
        "workspace_id": order.caller.workspace_id,
        "owner": order.caller.owner,
        "source": order.source,
        "media_id": order.media.id,
        "media_sha256": order.media.sha256,
        "filename": order.media.filename,
        "audio_duration_ms": order.media.probe.duration_ms,
        "held_ms": order.held_ms,
        "config": order.config.SerializeToString(),
        "wallet_id": order.caller.wallet_id,
        "title": order.title,
        "url": order.url,
        "claim_digest": order.claim_digest,
        "waiting": order.waiting,
        "retention_days": order.retention_days,
        "trace_parent": order.trace_parent,
    }


@asynccontextmanager
async def open_intake(database: Database, reserve_seconds: float) -> AsyncIterator[Intake]:
    """An intake that stores until the block ends; nobody may wait for it by then."""
    intake = Intake(database, reserve_seconds)
    async with asyncio.TaskGroup() as tasks:
        loops = [tasks.create_task(intake.run(), name=f"jobs-intake-{n}") for n in range(_LOOPS[database.dialect])]
        try:
            yield intake
        finally:
            for loop in loops:
                loop.cancel()
