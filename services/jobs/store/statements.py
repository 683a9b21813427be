"""Core statements through a session's connection, without the ORM's share of the cost."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, CursorResult, Executable
from sqlalchemy.ext.asyncio import AsyncSession

from services.mesh.bulk import Parameters
from services.mesh.columns import dialect_of, now_utc_sql


async def execute(session: AsyncSession, statement: Executable, rows: Parameters | None = None) -> CursorResult[Any]:
    """Runs one statement in the session's transaction."""
    return await (await session.connection()).execute(statement, rows)


def database_now(session: AsyncSession, offset: timedelta = timedelta(0)) -> ColumnElement[datetime]:
    """The database's clock plus offset, as an expression."""
    return now_utc_sql(dialect_of(session), offset)
