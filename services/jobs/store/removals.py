"""What must go from storage, and what is left of removed jobs."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Row, delete, literal, select, union_all, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import PROCESSING, QUEUED
from services.jobs.store.jobs import JOB, OF_MEDIA
from services.jobs.store.statements import database_now, execute
from services.jobs.store.tables import Removal, Tombstone
from services.mesh.bulk import insert_many, many_rows
from services.mesh.columns import dialect_of, table_of

REMOVAL = table_of(Removal)
TOMBSTONE = table_of(Tombstone)

Kind = Literal["media", "artefact"]


async def order_removal(session: AsyncSession, kind: Kind, resource_id: str, workspace_id: str, job_id: str) -> None:
    """Something has to go, an empty job_id for what never belonged to one; ordering it twice is ordering it once.

    resource_id: empty for media of a job that has none, of which nothing has to go.
    """
    if not resource_id:
        return
    values = {"kind": kind, "resource_id": resource_id, "workspace_id": workspace_id, "job_id": job_id}
    statement = _insert(session, REMOVAL).values(**values, attempts=0, next_time=database_now(session))
    await execute(session, statement.on_conflict_do_nothing())


async def order_removals(session: AsyncSession, rows: Sequence[dict[str, str]]) -> None:
    """The same for many at once; each with kind, resource_id, workspace_id and job_id."""
    if not rows:
        return
    dialect = dialect_of(session)
    computed = {"attempts": literal(0, REMOVAL.c.attempts.type), "next_time": database_now(session)}
    statement = insert_many(REMOVAL, ("kind", "resource_id", "workspace_id", "job_id"), dialect, **computed)
    await execute(session, statement.on_conflict_do_nothing(), many_rows(rows, dialect))


async def spoken_for(session: AsyncSession, media_ids: Collection[str]) -> set[str]:
    """Which of the media a job waits for, works on or keeps, or are ordered to go already."""
    kept = JOB.c.state.in_((QUEUED, PROCESSING)) | JOB.c.removal_time.is_not(None)
    jobs = select(JOB.c.media_id).where(OF_MEDIA, JOB.c.media_id.in_(media_ids), kept)
    removals = select(REMOVAL.c.resource_id).where(REMOVAL.c.kind == "media", REMOVAL.c.resource_id.in_(media_ids))
    return set((await execute(session, union_all(jobs, removals))).scalars())


async def list_due(session: AsyncSession, limit: int) -> Sequence[Row[Any]]:
    """Removals to try now, longest due first."""
    due = select(REMOVAL).where(REMOVAL.c.next_time <= database_now(session))
    return (await execute(session, due.order_by(REMOVAL.c.next_time).limit(limit))).all()


async def postpone_removal(session: AsyncSession, removal: Row[Any], delay: timedelta, now: datetime) -> None:
    """Storage could not do it; try again later."""
    later = update(REMOVAL).where(*_same(removal))
    await execute(session, later.values(attempts=removal.attempts + 1, next_time=now + delay))


async def finish_removal(session: AsyncSession, removal: Row[Any]) -> None:
    """It is gone; a deleted job of which nothing is left becomes a tombstone."""
    await execute(session, delete(REMOVAL).where(*_same(removal)))
    held = select(JOB).where(JOB.c.id == removal.job_id, JOB.c.delete_time.is_not(None)).with_for_update()
    job = (await execute(session, held)).one_or_none()
    if job is not None and await _nothing_left(session, job.id):
        await _bury(session, job)


async def _nothing_left(session: AsyncSession, job_id: str) -> bool:
    left = select(REMOVAL.c.resource_id).where(REMOVAL.c.job_id == job_id).limit(1)
    return (await execute(session, left)).one_or_none() is None


async def _bury(session: AsyncSession, job: Row[Any]) -> None:
    names = ("workspace_id", "owner", "state", "billable_ms", "audio_duration_ms")
    values = {name: getattr(job, name) for name in names} | {"job_id": job.id, "accept_time": job.create_time}
    statement = _insert(session, TOMBSTONE).values(**values, create_time=database_now(session))
    await execute(session, statement.on_conflict_do_nothing())
    await execute(session, delete(JOB).where(JOB.c.id == job.id))


async def read_tombstone(session: AsyncSession, job_id: str) -> Row[Any] | None:
    """How a removed job ended."""
    return (await execute(session, select(TOMBSTONE).where(TOMBSTONE.c.job_id == job_id))).one_or_none()


async def prune_tombstones(session: AsyncSession, before: datetime) -> None:
    """Forgets jobs removed before that time."""
    await execute(session, delete(TOMBSTONE).where(TOMBSTONE.c.create_time < before))


def _same(removal: Row[Any]) -> tuple[Any, ...]:
    return (REMOVAL.c.kind == removal.kind, REMOVAL.c.resource_id == removal.resource_id)


def _insert(session: AsyncSession, table: Any) -> Any:
    dialect = sqlite if dialect_of(session) == "sqlite" else postgresql
    return dialect.insert(table)
