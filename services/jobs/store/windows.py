"""Checkpoints: the windows that claims of a job finished."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.store.jobs import JOB
from services.jobs.store.statements import execute
from services.jobs.store.tables import Window
from services.mesh.columns import table_of

WINDOW = table_of(Window)


async def put_window(session: AsyncSession, job_id: str, index: int, window: bytes) -> bool:
    """Stores or replaces a window; True when it was not there before. The caller holds the job."""
    place = (WINDOW.c.job_id == job_id, WINDOW.c.index == index)
    replaced = await execute(session, update(WINDOW).where(*place).values(window=window).returning(WINDOW.c.index))
    if replaced.one_or_none() is not None:
        return False
    await execute(session, insert(WINDOW).values(job_id=job_id, index=index, window=window))
    return True


async def list_windows(session: AsyncSession, job_id: str, after_index: int, limit: int) -> Sequence[Row[Any]]:
    """The next windows, as `place` and `window`, by index. A row's own `index` is a tuple's method."""
    later = (WINDOW.c.job_id == job_id, WINDOW.c.index > after_index)
    statement = select(WINDOW.c.index.label("place"), WINDOW.c.window).where(*later).order_by(WINDOW.c.index).limit(limit)
    return (await execute(session, statement)).all()


async def delete_windows(session: AsyncSession, job_id: str) -> None:
    """Nobody is to read them any more."""
    await execute(session, delete(WINDOW).where(WINDOW.c.job_id == job_id))


async def read_window(session: AsyncSession, job_id: str, index: int) -> bytes | None:
    """One window. The caller holds the job."""
    place = (WINDOW.c.job_id == job_id, WINDOW.c.index == index)
    return (await execute(session, select(WINDOW.c.window).where(*place))).scalar_one_or_none()


async def delete_all_windows(session: AsyncSession, job_ids: Collection[str]) -> None:
    """Nobody is to read those of these jobs any more."""
    await execute(session, delete(WINDOW).where(WINDOW.c.job_id.in_(list(job_ids))))


async def prune_windows(session: AsyncSession, before: datetime) -> None:
    """Windows of jobs that ended before that time: by then whoever followed the text has read them."""
    held = select(WINDOW.c.job_id).distinct().subquery()
    over = select(held.c.job_id).outerjoin(JOB, JOB.c.id == held.c.job_id).where(JOB.c.id.is_(None) | (JOB.c.complete_time < before))
    await execute(session, delete(WINDOW).where(WINDOW.c.job_id.in_(over)))
