"""Jobs whose audio has been kept long enough."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.store.jobs import JOB
from services.jobs.store.statements import database_now, execute


async def list_expired_audio(session: AsyncSession, limit: int) -> Sequence[Row[Any]]:
    """Jobs whose media is to go now, longest due first, kept from other sweepers."""
    due = select(JOB).where(JOB.c.removal_time.is_not(None), JOB.c.removal_time <= database_now(session))
    return (await execute(session, due.order_by(JOB.c.removal_time).limit(limit).with_for_update(skip_locked=True))).all()


async def note_removal(session: AsyncSession, job_id: str) -> None:
    """The removal of the job's media is ordered."""
    await execute(session, update(JOB).where(JOB.c.id == job_id).values(removal_time=None))
