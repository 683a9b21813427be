"""The inbox: which events a consumer has taken, stored with their effect."""

from datetime import timedelta

from sqlalchemy import Column, MetaData, Table, Text, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from services.mesh import fault
from services.mesh.columns import UtcDateTime, dialect_of, now_utc_sql


def inbox_table(metadata: MetaData) -> Table:
    """The table `inbox` of a service."""
    return Table(
        "inbox",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("event_id", Text, primary_key=True),
        Column("create_time", UtcDateTime, nullable=False, index=True),
    )


async def first_time(session: AsyncSession, inbox: Table, consumer: str, event_id: str) -> bool:
    """Whether this consumer has not taken the event yet; it has, once the caller's transaction commits."""
    dialect = dialect_of(session)
    insert = postgresql.insert(inbox) if dialect == "postgresql" else sqlite.insert(inbox)
    row = {"consumer": consumer, "event_id": event_id, "create_time": now_utc_sql(dialect)}
    connection = await session.connection()
    inserted = await connection.execute(insert.values(row).on_conflict_do_nothing().returning(inbox.c.event_id))
    fault.point("inbox.entry.after_insert")
    return inserted.first() is not None


async def prune_inbox(session: AsyncSession, inbox: Table, *, keep: timedelta = timedelta(days=14)) -> int:
    """Delete entries older than `keep`, which must exceed the stream's age limit; returns how many."""
    limit = now_utc_sql(dialect_of(session), -keep)
    result = await (await session.connection()).execute(delete(inbox).where(inbox.c.create_time < limit))
    return result.rowcount
