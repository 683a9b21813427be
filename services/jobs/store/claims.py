"""Jobs that guests submitted, found by the digests of their claim tokens."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.store.jobs import JOB
from services.jobs.store.statements import execute


async def lock_claimable(session: AsyncSession, workspace_id: str, digests: Collection[str]) -> Sequence[Row[Any]]:
    """The workspace's unclaimed jobs of these tokens, held until the transaction ends, in one order everywhere."""
    mine = (JOB.c.claim_digest.in_(digests), JOB.c.workspace_id == workspace_id, JOB.c.delete_time.is_(None))
    return (await execute(session, select(JOB).where(*mine).order_by(JOB.c.id).with_for_update())).all()


async def read_claimable(session: AsyncSession, workspace_id: str, digest: str, states: Collection[int]) -> Sequence[Row[Any]]:
    """The one unclaimed job of this token, if it is in one of these states; none means any."""
    statement = select(JOB).where(JOB.c.claim_digest == digest, JOB.c.workspace_id == workspace_id, JOB.c.delete_time.is_(None))
    return (await execute(session, statement.where(JOB.c.state.in_(states)) if states else statement)).all()
