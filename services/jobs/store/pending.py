"""Jobs that wait for their media: to be fetched, or to be uploaded by their client."""

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import FETCH, READY, UPLOAD
from services.jobs.store.jobs import JOB
from services.jobs.store.statements import database_now, execute
from services.mesh.columns import DialectName, now_utc_sql
from services.mesh.database import Database

# Written out, not bound: SQLite takes a partial index only for a condition that it can read.
_PENDING = JOB.c.waiting != literal_column(str(READY))

_OWNER = (JOB.c.workspace_id, JOB.c.owner)
_MOST_OWNERS = 100


class Owner(NamedTuple):
    """Whose jobs they are."""

    workspace_id: str
    owner: str


async def any_fetch_due(database: Database) -> bool:
    """Whether media is to be fetched now. A look that does not keep writers waiting."""
    return bool(await database.read_all(_fetch_due(database.dialect)))


@cache
def _fetch_due(dialect: DialectName) -> Select[Any]:
    return select(JOB.c.id).where(_PENDING, JOB.c.waiting == FETCH, JOB.c.due_time <= now_utc_sql(dialect)).limit(1)


async def next_fetch(session: AsyncSession, served: Owner | None) -> Row[Any] | None:
    """The job that waits longest for its media to be fetched, kept from other fetchers, with the database's clock as `now`.

    Owners who have a fetch in hand, and the one served last, come after all others: many slow URLs of one hold up no one else's.
    """
    now = database_now(session)
    due = select(JOB, now.label("now")).where(_PENDING, JOB.c.waiting == FETCH, JOB.c.due_time <= now)
    busy = await _owners_in_hand(session) | ({served} if served else set())
    if busy and (row := await _first(session, due.where(tuple_(*_OWNER).not_in(sorted(busy))))) is not None:
        return row
    return await _first(session, due)


async def _owners_in_hand(session: AsyncSession) -> set[Owner]:
    in_hand = (_PENDING, JOB.c.waiting == FETCH, JOB.c.due_time > database_now(session))
    found = await execute(session, select(*_OWNER).where(*in_hand).distinct().limit(_MOST_OWNERS))
    return {Owner(row.workspace_id, row.owner) for row in found}


async def _first(session: AsyncSession, due: Select[Any]) -> Row[Any] | None:
    return (await execute(session, due.order_by(JOB.c.due_time).limit(1).with_for_update(skip_locked=True))).one_or_none()


async def list_late_uploads(session: AsyncSession, age: timedelta, limit: int) -> Sequence[Row[Any]]:
    """Jobs that have waited so long for their client's upload, kept from other sweepers, with the database's clock as `now`."""
    late = (_PENDING, JOB.c.waiting == UPLOAD, JOB.c.due_time <= database_now(session, -age))
    statement = select(JOB, database_now(session).label("now")).where(*late).order_by(JOB.c.due_time).limit(limit)
    return (await execute(session, statement.with_for_update(skip_locked=True))).all()
