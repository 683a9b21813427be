"""Jobs that wait for their media: to be fetched, or to be uploaded by their client."""

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, literal_column, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import FETCH, READY, UPLOAD
from services.jobs.store.jobs import JOB
from services.jobs.store.statements import database_now, execute
from services.mesh.columns import DialectName, now_utc_sql
from services.mesh.database import Database

# Written out, not bound: SQLite takes a partial index only for a condition that it can read.
_PENDING = JOB.c.waiting != literal_column(str(READY))


async def any_fetch_due(database: Database) -> bool:
    """Whether media is to be fetched now. A look that does not keep writers waiting."""
    return bool(await database.read_all(_fetch_due(database.dialect)))


@cache
def _fetch_due(dialect: DialectName) -> Select[Any]:
    return select(JOB.c.id).where(_PENDING, JOB.c.waiting == FETCH, JOB.c.due_time <= now_utc_sql(dialect)).limit(1)


async def next_fetch(session: AsyncSession) -> Row[Any] | None:
    """The job that waits longest for its media to be fetched, kept from other fetchers, with the database's clock as `now`."""
    now = database_now(session)
    due = select(JOB, now.label("now")).where(_PENDING, JOB.c.waiting == FETCH, JOB.c.due_time <= now)
    return (await execute(session, due.order_by(JOB.c.due_time).limit(1).with_for_update(skip_locked=True))).one_or_none()


async def list_late_uploads(session: AsyncSession, age: timedelta, limit: int) -> Sequence[Row[Any]]:
    """Jobs that have waited so long for their client's upload, kept from other sweepers, with the database's clock as `now`."""
    late = (_PENDING, JOB.c.waiting == UPLOAD, JOB.c.due_time <= database_now(session, -age))
    statement = select(JOB, database_now(session).label("now")).where(*late).order_by(JOB.c.due_time).limit(limit)
    return (await execute(session, statement.with_for_update(skip_locked=True))).all()
