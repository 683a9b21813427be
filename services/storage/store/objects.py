"""Queries on media and artefacts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Select, String, Table, bindparam, delete, tuple_, union_all, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from sqlmodel.sql.expression import SelectOfScalar

from services.mesh.columns import UtcDateTime, dialect_of, now_utc_sql, table_of
from services.mesh.database import Database
from services.storage.domain import Receipt, Span, State
from services.storage.store.tables import Artefact, Media, StoredObject

Row = TypeVar("Row", bound=StoredObject)


def _find_by_id(table: Table) -> Select[Any]:
    return table.select().where(table.c.id == bindparam("id"), table.c.state != State.DELETED)


def _find_own(table: Table) -> Select[Any]:
    return _find_by_id(table).where(table.c.workspace_id == bindparam("workspace_id"))


_FIND: dict[type[StoredObject], Select[Any]] = {model: _find_by_id(table_of(model)) for model in (Media, Artefact)}
_FIND_OWN: dict[type[StoredObject], Select[Any]] = {model: _find_own(table_of(model)) for model in (Media, Artefact)}


async def clock(session: AsyncSession) -> datetime:
    """The database's time: the one that ages are told by, whichever process asks."""
    now: datetime = (await (await session.connection()).execute(select(now_utc_sql(dialect_of(session))))).scalar_one()
    return now


async def add(session: AsyncSession, row: StoredObject) -> None:
    """Store a new row."""
    session.add(row)
    await session.flush()


async def find(database: Database, model: type[Row], object_id: str, workspace_id: str | None = None) -> Row | None:
    """The row of this id that is not deleted; with a workspace, only if it is the workspace's."""
    if workspace_id is None:
        found = await database.read_one(_FIND[model], id=object_id)
    else:
        found = await database.read_one(_FIND_OWN[model], id=object_id, workspace_id=workspace_id)
    return model(**found._mapping) if found is not None else None


async def lock(session: AsyncSession, model: type[Row], object_id: str, workspace_id: str | None = None) -> Row | None:
    """As `find`, and nobody else changes it until the transaction ends."""
    return (await session.exec(_living(model, object_id, workspace_id).with_for_update())).one_or_none()


async def lock_any(session: AsyncSession, model: type[Row], object_id: str) -> Row | None:
    """As `lock`, deleted rows included."""
    return (await session.exec(select(model).where(col(model.id) == object_id).with_for_update())).one_or_none()


async def touch(session: AsyncSession, media: Media, filename: str) -> None:
    """Name a locked row whose bytes are about to come."""
    media.filename, media.change_time = filename, await clock(session)
    await session.flush()


async def set_receipt(session: AsyncSession, row: StoredObject, receipt: Receipt) -> None:
    """Point a locked row at what arrived."""
    row.object_key, row.size_bytes, row.sha256 = receipt.object_key, receipt.size_bytes, receipt.sha256
    row.change_time = await clock(session)
    await session.flush()


async def set_ready(session: AsyncSession, model: type[Row], object_id: str, object_key: str, facts: dict[str, Any]) -> Row | None:
    """Make an upload readable if it still has the bytes under this key; None otherwise."""
    row = await lock(session, model, object_id)
    if row is None or row.state != State.UPLOADING or row.object_key != object_key:
        return None
    for name, value in facts.items():
        setattr(row, name, value)
    row.state, row.change_time = State.READY, await clock(session)
    await session.flush()
    return row


async def set_deleted(session: AsyncSession, row: StoredObject) -> None:
    """Make a locked row unreadable."""
    row.state, row.change_time = State.DELETED, await clock(session)
    await session.flush()


async def expire_uploads(session: AsyncSession, model: type[Row], age: timedelta) -> int:
    """Mark uploads that nothing happened to for this long as deleted; how many."""
    dialect = dialect_of(session)
    stale = update(table_of(model)).where(col(model.state) == State.UPLOADING, col(model.change_time) < now_utc_sql(dialect, -age))
    result = await (await session.connection()).execute(stale.values(state=State.DELETED, change_time=now_utc_sql(dialect)))
    return result.rowcount


async def list_deleted(session: AsyncSession, model: type[Row], limit: int) -> Sequence[Row]:
    """Rows whose bytes are to go, the longest waiting first."""
    statement = select(model).where(col(model.state) == State.DELETED).order_by(col(model.change_time)).limit(limit)
    return (await session.exec(statement)).all()


async def list_ready_media(session: AsyncSession, span: Span, limit: int) -> Sequence[Media]:
    """The next ready media of a span, of every workspace, oldest first; not that of datasets."""
    place = tuple_(col(Media.create_time), col(Media.id))
    statement = select(Media).where(col(Media.state) == State.READY, col(Media.create_time) < span.before, col(Media.dataset_id).is_(None))
    statement = statement.where(place > tuple_(*span.after, types=[UtcDateTime(), String()]))
    return (await session.exec(statement.order_by(col(Media.create_time), col(Media.id)).limit(limit))).all()


async def remove(session: AsyncSession, model: type[Row], object_id: str) -> None:
    """Drop a deleted row."""
    statement = delete(table_of(model)).where(col(model.id) == object_id, col(model.state) == State.DELETED)
    await (await session.connection()).execute(statement)


async def known_keys(session: AsyncSession, keys: Sequence[str]) -> set[str]:
    """Which of the keys a row speaks of."""
    named = [select(col(model.object_key)).where(col(model.object_key).in_(keys)) for model in (Media, Artefact)]
    found = await (await session.connection()).execute(union_all(*named))
    return {key for key in found.scalars() if key is not None}


def _living(model: type[Row], object_id: str, workspace_id: str | None) -> SelectOfScalar[Row]:
    statement = select(model).where(col(model.id) == object_id, col(model.state) != State.DELETED)
    if workspace_id is not None:
        statement = statement.where(col(model.workspace_id) == workspace_id)
    return statement
