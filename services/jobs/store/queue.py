"""Which jobs wait, which were handed out, which leases ran out."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, exists, func, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import PROCESSING, QUEUED, READY
from services.jobs.store.jobs import JOB
from services.jobs.store.statements import database_now, execute
from services.mesh.columns import DialectName, now_utc_sql
from services.mesh.database import Database

# Written out, not bound: SQLite takes a partial index only for a condition that it can read.
_QUEUED = JOB.c.state == literal_column(str(QUEUED))
_PROCESSING = JOB.c.state == literal_column(str(PROCESSING))
_DISPATCHABLE = _QUEUED & JOB.c.dispatch_time.is_(None) & (JOB.c.waiting == literal_column(str(READY)))


async def count_dispatched(session: AsyncSession) -> int:
    """Jobs handed out that no worker has taken yet."""
    statement = select(func.count()).select_from(JOB).where(_QUEUED, JOB.c.dispatch_time.is_not(None))
    return int((await execute(session, statement)).scalar_one())


async def glance(database: Database) -> Row[Any]:
    """How many jobs are `dispatched` and not taken yet, and whether one is `waiting` that is due."""
    [row] = await database.read_all(_glance(database.dialect))
    return row


@cache
def _glance(dialect: DialectName) -> Select[Any]:
    dispatched = select(func.count()).select_from(JOB).where(_QUEUED, JOB.c.dispatch_time.is_not(None))
    waiting = exists().where(_DISPATCHABLE, JOB.c.due_time <= now_utc_sql(dialect))
    return select(dispatched.scalar_subquery().label("dispatched"), waiting.label("waiting"))


async def next_waiting(session: AsyncSession, after_workspace_id: str, now: datetime) -> Row[Any] | None:
    """The job that waits longest in the next workspace by id, kept from other dispatchers."""
    waiting = select(JOB).where(_DISPATCHABLE, JOB.c.due_time <= now)
    order = (JOB.c.workspace_id, JOB.c.due_time, JOB.c.id)
    statement = waiting.where(JOB.c.workspace_id > after_workspace_id).order_by(*order).limit(1)
    return (await execute(session, _held(statement))).one_or_none()


async def list_expired(session: AsyncSession, limit: int, *, hold: bool = True) -> Sequence[Row[Any]]:
    """Jobs whose lease ran out, with the database's clock as `now`; `hold` keeps them from other sweepers."""
    now = database_now(session)
    expired = select(JOB, now.label("now")).where(_PROCESSING, JOB.c.lease_until < now)
    statement = expired.order_by(JOB.c.lease_until).limit(limit)
    return (await execute(session, _held(statement) if hold else statement)).all()


def _held(statement: Select[Any]) -> Select[Any]:
    return statement.with_for_update(skip_locked=True)


async def recall_dispatched(session: AsyncSession, age_seconds: float) -> int:
    """Jobs handed out that long ago, and not taken since, wait for the dispatcher again; answers how many."""
    before = database_now(session, timedelta(seconds=-age_seconds))
    lost = update(JOB).where(_QUEUED, JOB.c.dispatch_time.is_not(None), JOB.c.dispatch_time <= before)
    recalled = await execute(session, lost.values(dispatch_time=None).returning(JOB.c.id))
    return len(recalled.all())
