"""Figures over an owner's jobs of a span of time, deleted ones included for as long as they are remembered."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Row, Select, func, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.store.jobs import IS_TRANSCRIPTION, JOB
from services.jobs.store.removals import TOMBSTONE
from services.jobs.store.statements import execute


async def count_accepted(session: AsyncSession, workspace_id: str, owner: str, begin: datetime, before: datetime) -> Sequence[Row[Any]]:
    """Per state: `job_count` and `audio_ms` of the jobs accepted from `begin` on and `before` then."""

    def of(table: Any, time: Column[Any], *conditions: Any) -> Select[Any]:
        mine = (table.c.workspace_id == workspace_id, table.c.owner == owner, time >= begin, time < before, *conditions)
        return select(table.c.state, table.c.audio_duration_ms).where(*mine)

    parts = union_all(
        of(JOB, JOB.c.create_time, IS_TRANSCRIPTION, JOB.c.delete_time.is_(None)),
        of(JOB, JOB.c.create_time, IS_TRANSCRIPTION, JOB.c.delete_time.is_not(None)),
        of(TOMBSTONE, TOMBSTONE.c.accept_time),
    ).subquery()
    sums = (func.count().label("job_count"), func.coalesce(func.sum(parts.c.audio_duration_ms), 0).label("audio_ms"))
    return (await execute(session, select(parts.c.state, *sums).group_by(parts.c.state))).all()
