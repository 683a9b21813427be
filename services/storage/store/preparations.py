"""Queries on the preparation of audio: who prepares which file until when."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlmodel import col
from sqlmodel import select as select_models
from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh.columns import dialect_of, now_utc_sql
from services.storage.datasets import MAX_ATTEMPTS, AudioState
from services.storage.store.dataset_tables import AUDIO, DatasetAudio

_IN_HAND = AUDIO.c.state.in_((AudioState.NORMALIZING, AudioState.EMBEDDING))


def _free(session: AsyncSession) -> ColumnElement[bool]:
    now = now_utc_sql(dialect_of(session))
    return and_(_IN_HAND, AUDIO.c.next_time <= now, or_(AUDIO.c.lease_time.is_(None), AUDIO.c.lease_time <= now))


async def claim_audio(session: AsyncSession, lease_id: str, lease: timedelta) -> DatasetAudio | None:
    """Take the file that has waited longest, for so long; it starts again from its bytes."""
    waiting = select(AUDIO.c.id).where(_free(session), AUDIO.c.attempts < MAX_ATTEMPTS).order_by(AUDIO.c.next_time, AUDIO.c.id)
    connection = await session.connection()
    chosen = (await connection.execute(waiting.limit(1).with_for_update(skip_locked=True))).scalar_one_or_none()
    if chosen is None:
        return None
    taken = {"lease_id": lease_id, "lease_time": now_utc_sql(dialect_of(session), lease), "attempts": AUDIO.c.attempts + 1}
    statement = update(AUDIO).where(AUDIO.c.id == chosen).values(state=AudioState.NORMALIZING, **taken)
    await connection.execute(statement)
    return (await session.exec(select_models(DatasetAudio).where(col(DatasetAudio.id) == chosen))).one()


async def list_worn_out(session: AsyncSession, limit: int) -> Sequence[str]:
    """Ids of files whose last attempt ended with its process."""
    worn = select(AUDIO.c.id).where(_free(session), AUDIO.c.attempts >= MAX_ATTEMPTS).limit(limit)
    return list((await (await session.connection()).execute(worn.with_for_update(skip_locked=True))).scalars())


async def renew_lease(session: AsyncSession, audio: DatasetAudio, lease: timedelta) -> bool:
    """Keep a file for so long from now; False when it is somebody else's by now, or gone."""
    return await _change(session, audio, lease_time=now_utc_sql(dialect_of(session), lease))


async def advance(session: AsyncSession, audio: DatasetAudio, state: AudioState) -> bool:
    """Say how far the file is; False as in `renew_lease`."""
    return await _change(session, audio, state=state)


async def end_preparation(session: AsyncSession, audio: DatasetAudio, facts: dict[str, Any]) -> bool:
    """Write how the preparation ended and let go; False as in `renew_lease`."""
    return await _change(session, audio, lease_id=None, lease_time=None, **facts)


async def put_back(session: AsyncSession, audio: DatasetAudio, delay: timedelta, attempts: int) -> bool:
    """Let go of a file that is to be tried again after a delay; False as in `renew_lease`."""
    next_time = now_utc_sql(dialect_of(session), delay)
    return await _change(session, audio, lease_id=None, lease_time=None, next_time=next_time, attempts=attempts)


async def fail_worn_out(session: AsyncSession, audio_ids: Sequence[str], message: str) -> None:
    """Give up on locked files."""
    given_up = update(AUDIO).where(AUDIO.c.id.in_(audio_ids))
    await (await session.connection()).execute(given_up.values(state=AudioState.FAILED, error_message=message, lease_id=None))


async def outdate(session: AsyncSession, version: int) -> int:
    """Have ready files with features of an older version prepared again; how many."""
    old = update(AUDIO).where(AUDIO.c.state == AudioState.READY, AUDIO.c.features_version < version)
    again = old.values(state=AudioState.NORMALIZING, attempts=0, next_time=now_utc_sql(dialect_of(session)))
    return (await (await session.connection()).execute(again)).rowcount


async def _change(session: AsyncSession, audio: DatasetAudio, **values: Any) -> bool:
    mine = update(AUDIO).where(AUDIO.c.id == audio.id, AUDIO.c.workspace_id == audio.workspace_id, AUDIO.c.lease_id == audio.lease_id)
    return bool((await (await session.connection()).execute(mine.values(**values))).rowcount)
