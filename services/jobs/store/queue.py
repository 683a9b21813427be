"""Which jobs wait, which were handed out, which leases ran out; what is handed out counts for each kind of work by itself."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, case, exists, func, literal_column, select, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import PROCESSING, QUEUED, READY, WORK_CLASSES
from services.jobs.store.jobs import JOB
from services.jobs.store.statements import database_now, execute
from services.mesh.columns import DialectName, UtcDateTime, now_utc_sql
from services.mesh.database import Database

# Written out, not bound: SQLite takes a partial index only for a condition that it can read.
_QUEUED = JOB.c.state == literal_column(str(QUEUED))
_PROCESSING = JOB.c.state == literal_column(str(PROCESSING))
_DISPATCHABLE = _QUEUED & JOB.c.dispatch_time.is_(None) & (JOB.c.waiting == literal_column(str(READY)))
_DISPATCHED = _QUEUED & JOB.c.dispatch_time.is_not(None)
_OF_KIND = {kind: JOB.c.kind == literal_column(str(kind)) for kind in WORK_CLASSES}


class Sight(NamedTuple):
    """How many jobs of a kind are handed out and not taken yet, and whether one waits that is due."""

    dispatched: int
    waiting: bool


async def count_dispatched(session: AsyncSession, kind: int) -> int:
    """Jobs of the kind that were handed out and that no worker has taken yet."""
    statement = select(func.count()).select_from(JOB).where(_DISPATCHED, _OF_KIND[kind])
    return int((await execute(session, statement)).scalar_one())


async def dispatched_kinds(session: AsyncSession) -> list[int]:
    """The kinds of the jobs that were handed out and that no worker has taken yet."""
    statement = select(JOB.c.kind).where(_DISPATCHED).distinct()
    return sorted((await execute(session, statement)).scalars())


async def glance(database: Database) -> dict[int, Sight]:
    """What there is to hand out, by kind."""
    [row] = await database.read_all(_glance(database.dialect))
    seen = iter(row)
    return {kind: Sight(int(next(seen)), bool(next(seen))) for kind in WORK_CLASSES}


@cache
def _glance(dialect: DialectName) -> Select[Any]:
    columns: list[ColumnElement[Any]] = []
    for kind, of_kind in _OF_KIND.items():
        dispatched = select(func.count()).select_from(JOB).where(_DISPATCHED, of_kind)
        waiting = exists().where(_DISPATCHABLE, of_kind, JOB.c.due_time <= now_utc_sql(dialect))
        columns += [dispatched.scalar_subquery().label(f"dispatched_{kind}"), waiting.label(f"waiting_{kind}")]
    return select(*columns)


class Ages(NamedTuple):
    """Of one kind, in seconds: since the job that waits longest was due, and since the oldest in work was first claimed."""

    waiting: float
    working: float


class Delays(NamedTuple):
    """What takes how long. overdue_seconds: since the first of the leases that nobody swept ran out. 0 where there is nothing."""

    by_kind: dict[int, Ages]
    overdue_seconds: float


async def read_delays(database: Database) -> Delays:
    """How long jobs wait and are worked on."""
    [row] = await database.read_all(_delays(database.dialect))
    now, lease_until, *times = tuple(row)
    ages = [max(0.0, (now - time).total_seconds()) if time is not None else 0.0 for time in (lease_until, *times)]
    pairs = zip(ages[1::2], ages[2::2], strict=True)
    return Delays({kind: Ages(*pair) for kind, pair in zip(WORK_CLASSES, pairs, strict=True)}, ages[0])


@cache
def _delays(dialect: DialectName) -> Select[Any]:
    now = now_utc_sql(dialect)
    columns: list[ColumnElement[Any]] = [select(func.min(JOB.c.lease_until)).where(_PROCESSING).scalar_subquery()]
    for of_kind in _OF_KIND.values():
        # Each by its own index: the one of the jobs that wait has all that is asked of it.
        waiting = [select(func.min(JOB.c.due_time)).where(which, of_kind).scalar_subquery() for which in (_DISPATCHABLE, _DISPATCHED)]
        columns += [_earlier(*waiting), select(func.min(JOB.c.start_time)).where(_PROCESSING, of_kind).scalar_subquery()]
    times: list[ColumnElement[Any]] = [type_coerce(one, UtcDateTime) for one in (now, *columns)]
    return select(*times)


def _earlier(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    """The smaller; of one that is null, the other. Written out: SQLite's min and Postgres' least see null differently."""
    return case((other.is_(None), one), (one < other, one), else_=other)


async def next_waiting(session: AsyncSession, kind: int, after_workspace_id: str, now: datetime) -> Row[Any] | None:
    """The job of the kind that waits longest in the next workspace by id, kept from other dispatchers."""
    waiting = select(JOB).where(_DISPATCHABLE, _OF_KIND[kind], JOB.c.due_time <= now)
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


async def recall_dispatched(session: AsyncSession, kinds: Collection[int], age_seconds: float) -> int:
    """Jobs of the kinds that were handed out that long ago, and not taken since, wait for the dispatcher again; answers how many."""
    before = database_now(session, timedelta(seconds=-age_seconds))
    lost = update(JOB).where(_DISPATCHED, JOB.c.kind.in_(list(kinds)), JOB.c.dispatch_time <= before)
    recalled = await execute(session, lost.values(dispatch_time=None).returning(JOB.c.id))
    return len(recalled.all())
