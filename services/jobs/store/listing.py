"""An owner's transcriptions: pages by keyset, totals by tally."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, delete, func, insert, select, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.store.jobs import IS_TRANSCRIPTION, JOB
from services.jobs.store.statements import execute
from services.jobs.store.tables import JobTally
from services.mesh.columns import table_of

TALLY = table_of(JobTally)


@dataclass(frozen=True)
class Place:
    """Between two jobs of a list: after the one created then, with this id."""

    create_time: datetime
    job_id: str


@dataclass(frozen=True)
class Query:
    """Whose jobs, in which states (none: all), from where on."""

    workspace_id: str
    owner: str
    states: tuple[int, ...] = ()
    after: Place | None = None


async def list_jobs(session: AsyncSession, query: Query, limit: int, skip: int) -> Sequence[Row[Any]]:
    """The next jobs, newest first. Each state is read by its own index range, then merged."""
    reach = limit + skip
    if not query.states:
        return (await execute(session, _newest_first(_page(query), limit).offset(skip))).all()
    parts = [_newest_first(_page(query).where(JOB.c.state == state), reach).subquery() for state in query.states]
    merged = union_all(*(select(part) for part in parts)).subquery()
    order = (merged.c.create_time.desc(), merged.c.id.desc())
    return (await execute(session, select(merged).order_by(*order).limit(limit).offset(skip))).all()


def _page(query: Query) -> Select[Any]:
    mine = (JOB.c.workspace_id == query.workspace_id, JOB.c.owner == query.owner, JOB.c.delete_time.is_(None))
    statement = select(JOB).where(*mine, IS_TRANSCRIPTION)
    if query.after is None:
        return statement
    place = tuple_(query.after.create_time, query.after.job_id, types=[JOB.c.create_time.type, JOB.c.id.type])
    return statement.where(tuple_(JOB.c.create_time, JOB.c.id) < place)


def _newest_first(statement: Select[Any], limit: int) -> Select[Any]:
    return statement.order_by(JOB.c.create_time.desc(), JOB.c.id.desc()).limit(limit)


async def count_jobs(session: AsyncSession, query: Query) -> int:
    """How many jobs there are in all, from wherever the page starts."""
    mine = (TALLY.c.workspace_id == query.workspace_id, TALLY.c.owner == query.owner)
    statement = select(func.coalesce(func.sum(TALLY.c.delta), 0)).where(*mine)
    if query.states:
        statement = statement.where(TALLY.c.state.in_(query.states))
    return int((await execute(session, statement)).scalar_one())


async def count_by_state(session: AsyncSession) -> dict[int, int]:
    """How many jobs of all owners there are in each state."""
    statement = select(TALLY.c.state, func.sum(TALLY.c.delta).label("job_count")).group_by(TALLY.c.state)
    return {row.state: int(row.job_count) for row in await execute(session, statement)}


async def list_crowded(session: AsyncSession, min_rows: int, limit: int) -> Sequence[Row[Any]]:
    """Owners that have many tallies. It looks at the tallies of every owner: not for a transaction that keeps writers waiting."""
    owners = select(TALLY.c.workspace_id, TALLY.c.owner).group_by(TALLY.c.workspace_id, TALLY.c.owner)
    return (await execute(session, owners.having(func.count() >= min_rows).limit(limit))).all()


async def fold_tallies(session: AsyncSession, workspace_id: str, owner: str) -> None:
    """Joins the tallies of an owner."""
    mine = (TALLY.c.workspace_id == workspace_id, TALLY.c.owner == owner)
    taken = await execute(session, delete(TALLY).where(*mine).returning(TALLY.c.state, TALLY.c.delta))
    sums: dict[int, int] = {}
    for row in taken:
        sums[row.state] = sums.get(row.state, 0) + row.delta
    rows = [{"workspace_id": workspace_id, "owner": owner, "state": state, "delta": total} for state, total in sums.items() if total]
    if rows:
        await execute(session, insert(TALLY), rows)
