"""What tables of every service are made of: their registry, aware UTC times, the database's clock."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import BigInteger, ColumnElement, DateTime, MetaData, Table, bindparam, inspect, literal_column, type_coerce
from sqlalchemy.engine import Dialect as SqlDialect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import registry
from sqlalchemy.types import Interval, TypeDecorator, TypeEngine
from sqlmodel import SQLModel

DialectName = Literal["sqlite", "postgresql"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
# unixepoch('now', 'subsec') needs SQLite 3.42; Debian 12 has 3.40.
_MACHINE_CLOCK = "(CAST(strftime('%s','now') AS INTEGER) * 1000000 + CAST(substr(strftime('%f','now'), 4) AS INTEGER) * 1000)"
STEADY_FUNCTION = "steady_microseconds"
# SQLite asks the machine's clock. A day that somebody takes off it would be a day too few in every time that is written from then on.
_SQLITE_CLOCK = f"max({_MACHINE_CLOCK}, {STEADY_FUNCTION}())"


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetime: microseconds since 1970 on SQLite, TIMESTAMPTZ on Postgres; both sort by time."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: SqlDialect) -> TypeEngine[Any]:
        """The column type of this dialect."""
        return dialect.type_descriptor(DateTime(timezone=True) if dialect.name == "postgresql" else BigInteger())

    def process_bind_param(self, value: datetime | None, dialect: SqlDialect) -> Any:
        """Refuses naive datetimes with ValueError."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value if dialect.name == "postgresql" else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: Any, dialect: SqlDialect) -> datetime | None:
        """The stored time, in UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else _EPOCH + timedelta(microseconds=value)


def now_utc_sql(dialect: DialectName, offset: timedelta = timedelta(0)) -> ColumnElement[datetime]:
    """The database's clock plus offset, usable in values, comparisons and selects.

    Resolution: 1 ms on SQLite, 1 µs on Postgres, where it is the start of the statement. On SQLite it never goes back while the process
    lives, and needs a connection of `make_engines`.
    """
    clock: ColumnElement[Any]
    shift: ColumnElement[Any]
    if dialect == "postgresql":
        # statement_timestamp() is STABLE, so comparisons with it can use an index; clock_timestamp() cannot.
        clock = literal_column("statement_timestamp()", DateTime(timezone=True))
        shift = bindparam(None, offset, Interval())
    else:
        clock = literal_column(_SQLITE_CLOCK, BigInteger())
        shift = bindparam(None, offset // _MICROSECOND, BigInteger())
    return type_coerce(clock + shift if offset else clock, UtcDateTime())


def dialect_of(session: AsyncSession) -> DialectName:
    """The dialect of the database behind a session."""
    return "postgresql" if session.get_bind().dialect.name == "postgresql" else "sqlite"


def table_registry() -> registry:
    """A registry of one service's tables, so that names of two services never clash: `class Table(SQLModel, registry=table_registry())`."""
    return registry(metadata=MetaData(naming_convention=_NAMING))


def table_of(model: type[SQLModel]) -> Table:
    """The Core table of a SQLModel class, for hot statements."""
    table = inspect(model).local_table
    if not isinstance(table, Table):
        raise TypeError(f"{model.__name__} has no table")
    return table
