"""SQLAlchemy engines with the durability and time limits that Steno promises."""

import re
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from services.mesh import semconv
from services.mesh.columns import STEADY_FUNCTION
from services.mesh.row_security import FOR_EVERY
from services.mesh.single_reads import PostgresReads, SingleReads, SqliteReads
from services.mesh.sqlite_driver import BUSY_SECONDS, connect
from services.mesh.steady_clock import SteadyClock

_READERS = 4
_POSTGRES_CONNECTIONS = 10
_POOL_SECONDS = 10.0
_SQLITE_PRAGMAS = (
    "busy_timeout=5000",
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "trusted_schema=OFF",
    "secure_delete=ON",
    "journal_size_limit=67108864",
)
POSTGRES_SESSION = {
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "15s",
}
POSTGRES_CONNECTION = {
    "connect_timeout": 3,
    "tcp_user_timeout": 10_000,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
_SCHEMA_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Engines(NamedTuple):
    """The engines of writing transactions and of read-only snapshots, and reads of one statement."""

    writer: AsyncEngine
    reader: AsyncEngine
    single: SingleReads


def parse_url(url: str) -> URL:
    """The URL with the driver that Steno uses. Raises ValueError for another database or an in-memory SQLite."""
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ValueError(f"{backend} is not supported: use sqlite or postgresql")
    if not parsed.database or parsed.database == ":memory:":
        raise ValueError("an in-memory database keeps nothing: name a file")
    return parsed.set(drivername="sqlite+aiosqlite")


def make_engines(url: URL, schema: str) -> Engines:
    """The engines of one service's database; nothing connects yet."""
    if url.get_backend_name() == "postgresql":
        return _postgres_engines(url, schema)
    writer, reader = _sqlite_writer(url), _sqlite_reader(url)
    _count_in_use(writer.sync_engine, schema, "transactions")
    _count_in_use(reader.sync_engine, schema, "snapshots")
    return Engines(writer, reader, SqliteReads(_sqlite_single(url), _READERS))


def postgres_arguments(schema: str, session: dict[str, str]) -> dict[str, Any]:
    """libpq arguments: the service's schema and the session's limits; every workspace's rows."""
    if not _SCHEMA_NAME.fullmatch(schema):
        raise ValueError(f"{schema!r} is not a schema name")
    options = " ".join(f"-c {name}={value}" for name, value in {"search_path": schema, **session}.items())
    return {**POSTGRES_CONNECTION, "options": f"{options} {FOR_EVERY}"}


def apply_pragmas(connection: Any, *extra: str) -> None:
    """Set SQLite up on a DBAPI connection."""
    cursor = connection.cursor()
    for pragma in (*_SQLITE_PRAGMAS, *extra):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _postgres_engines(url: URL, schema: str) -> Engines:
    # Imported here: an installation on SQLite does without the extra `postgres`.
    from services.mesh.postgres_driver import Connection as PostgresConnection

    writer = create_async_engine(
        url,
        connect_args={**postgres_arguments(schema, POSTGRES_SESSION), "async_creator_fn": PostgresConnection.open},
        pool_size=_POSTGRES_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_POOL_SECONDS,
        pool_pre_ping=True,
    )
    _count_in_use(writer.sync_engine, schema, "transactions")
    reader = writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    return Engines(writer, reader, PostgresReads(writer))


def _sqlite_writer(url: URL) -> AsyncEngine:
    # A deferred BEGIN takes the write lock too late: read-modify-write then loses updates without an error.
    return _sqlite_engine(url, begin="BEGIN IMMEDIATE", connections=1)


def _sqlite_reader(url: URL) -> AsyncEngine:
    return _sqlite_engine(url, "query_only=ON", begin="BEGIN", connections=_READERS)


def _sqlite_single(url: URL) -> Engine:
    # No begin event and nothing to roll back: each statement is its own transaction.
    engine = create_engine(
        url.set(drivername="sqlite"),
        connect_args={"isolation_level": None, "timeout": BUSY_SECONDS, "check_same_thread": False},
        pool_size=_READERS,
        max_overflow=0,
        pool_timeout=_POOL_SECONDS,
        pool_reset_on_return=None,
    )
    _on_connect(engine, "query_only=ON")
    return engine


def _sqlite_engine(url: URL, *pragmas: str, begin: str, connections: int) -> AsyncEngine:
    path = str(url.database)
    engine = create_async_engine(
        url,
        async_creator=lambda: connect(path),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_POOL_SECONDS,
    )
    _on_connect(engine.sync_engine, *pragmas)
    _on_begin(engine.sync_engine, begin)
    return engine


def _on_connect(engine: Engine, *pragmas: str) -> None:
    clock = SteadyClock()

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        apply_pragmas(connection, *pragmas)
        connection.create_function(STEADY_FUNCTION, 0, clock.microseconds)


def _count_in_use(engine: Engine, schema: str, pool: str) -> None:
    """Asked of the pool at each scrape: its events do not pair up while a server is away."""

    def checked_out() -> int:
        return engine.pool.checkedout() if isinstance(engine.pool, QueuePool) else 0

    semconv.DATABASE_CONNECTIONS.labels(schema, pool).set_function(checked_out)


def _on_begin(engine: Engine, statement: str) -> None:
    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(statement)
