"""Schema migrations: Alembic's upgrade to head, in one transaction, by one migrator at a time.

A revision only adds, so that the version before goes on beside it. One that takes something away says `contract = True` and names with
`contract_release` the release from which on nobody needs it. The database keeps the oldest revision whose code may use it, so that
an older version knows whether it still may.
"""

import ast
import asyncio
import random
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from services.mesh import fault
from services.mesh.database_failures import translated
from services.mesh.engines import apply_pragmas, parse_url, postgres_arguments
from services.mesh.errors import ServiceUnavailable
from services.mesh.settings import UnusableSettings
from services.mesh.sqlite_file import prepare_file
from services.mesh.telemetry import get_logger

_LOCK_SECONDS = 60
_FIRST_DELAY_SECONDS = 0.05
_LONGEST_DELAY_SECONDS = 2.0
_POSTGRES_SESSION = {"lock_timeout": f"{_LOCK_SECONDS}s", "statement_timeout": "15min"}
# Alembic's `context` and `op` are proxies of the process: two upgrades in two threads would share them.
_ALEMBIC = threading.Lock()
# Beside Alembic's own: it leaves further columns of its table alone.
_OLDEST = "oldest_code"


class UnfitSchema(UnusableSettings):
    """The database is at a revision that this version cannot use; the message says which, and what to do."""


async def prepare_schema(url: str, *, schema: str, script_location: str, profile: str, patience_seconds: float = 30.0) -> None:
    """Migrate in the embedded profile; elsewhere only look, since `steno migrate` does it. Raises UnfitSchema.

    A Postgres that does not answer is waited for. patience_seconds: for how long in the embedded profile, whose supervisor tells of a
    service that ends; then ServiceUnavailable is raised.
    """
    embedded, delay = profile == "embedded", _FIRST_DELAY_SECONDS
    prepare, until = migrate if embedded else require_schema, time.monotonic() + patience_seconds
    while True:
        try:
            with translated():
                return await prepare(url, schema=schema, script_location=script_location)
        except ServiceUnavailable as error:
            if parse_url(url).get_backend_name() == "sqlite" or (embedded and time.monotonic() > until):
                raise
            get_logger("mesh.migrations").warning("database does not answer yet", service=schema, error=str(error.__cause__))
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
        delay = min(delay * 2, _LONGEST_DELAY_SECONDS)


async def migrate(url: str, *, schema: str, script_location: str) -> None:
    """Bring the database at url to the newest revision; harmless when it is there already.

    script_location: the folder with env.py and versions/. A database that a newer version has migrated is left as it is where that
    version says that it may be used. Raises UnfitSchema where it does not.
    """
    await asyncio.to_thread(_migrate, parse_url(url), schema, script_location)


async def require_schema(url: str, *, schema: str, script_location: str) -> None:
    """Raises UnfitSchema unless the database is at this version's revision, or at a later one that leaves this version its place."""
    await asyncio.to_thread(_require, parse_url(url), schema, _read_history(Path(script_location)))


def run_env(metadata: MetaData) -> None:
    """The whole of a service's env.py."""
    from alembic import context

    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=metadata,
        render_as_batch=True,
        transactional_ddl=True,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _migrate(url: URL, schema: str, script_location: str) -> None:
    engine, history = _engine(url, schema), _read_history(Path(script_location))
    with engine.connect() as connection:
        if _is_fit(connection, schema, history):
            return
    with _ALEMBIC, engine.begin() as connection:
        if url.get_backend_name() == "postgresql":
            _lock_schema(connection, schema)
        _upgrade(connection, script_location)
        _note_oldest(connection, history)
        fault.point("migration.upgrade.before_commit")
    fault.point("migration.upgrade.after_commit")


def _require(url: URL, schema: str, history: "_History") -> None:
    with _engine(url, schema).connect() as connection:
        if not _is_fit(connection, schema, history):
            found = ", ".join(sorted(_revisions(connection))) or "no revision"
            raise UnfitSchema(f"the database of {schema} is at {found}, this version needs {history.head}: run `steno migrate` first")


def _is_fit(connection: Connection, schema: str, history: "_History") -> bool:
    """False for one that is behind. Raises UnfitSchema for one that is ahead and has left this version behind."""
    revisions = _revisions(connection)
    if revisions <= history.known:
        return revisions == {history.head}
    oldest = _oldest(connection)
    if oldest in history.known:
        return True
    needed = f"needs code of {oldest} or newer" if oldest else "does not say which older code it bears"
    raise UnfitSchema(
        f"the database of {schema} is at {', '.join(sorted(revisions))}, which {needed}; this version knows up to {history.head}:"
        " run the newer version, or restore a backup of this one"
    )


def _upgrade(connection: Connection, script_location: str) -> None:
    # 15 MB and 0.4 s of processor time that a service needs only when there is something to migrate.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", script_location.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revisions(connection: Connection) -> set[str]:
    """Where the database is; empty for a new one."""
    if not inspect(connection).has_table("alembic_version"):
        return set()
    return set(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())


def _oldest(connection: Connection) -> str:
    """The oldest revision whose code may use the database; empty where nobody said."""
    if _OLDEST not in {column["name"] for column in inspect(connection).get_columns("alembic_version")}:
        return ""
    return str(connection.execute(text(f"SELECT {_OLDEST} FROM alembic_version")).scalar() or "")  # noqa: S608 (our own name)


def _note_oldest(connection: Connection, history: "_History") -> None:
    if _OLDEST not in {column["name"] for column in inspect(connection).get_columns("alembic_version")}:
        connection.execute(text(f"ALTER TABLE alembic_version ADD COLUMN {_OLDEST} VARCHAR(32)"))
    connection.execute(text(f"UPDATE alembic_version SET {_OLDEST} = :oldest"), {"oldest": history.oldest})  # noqa: S608 (as above)


@dataclass(frozen=True)
class _History:
    """What the scripts of one service tell. known: all revisions. oldest: the last that took something away, else the first."""

    known: frozenset[str]
    head: str
    oldest: str


def _read_history(scripts: Path) -> _History:
    """Of one line of revisions; what they do is read, not run."""
    found = {one["revision"]: one for one in map(_assigned, (scripts / "versions").glob("*.py"))}
    [head] = found.keys() - {one.get("down_revision") for one in found.values()}
    oldest = head
    while not found[oldest].get("contract") and (before := found[oldest].get("down_revision")):
        oldest = before
    return _History(frozenset(found), head, oldest)


def _assigned(script: Path) -> dict[str, Any]:
    """The constants that a script assigns to names, one by one or several at once."""
    found: dict[str, Any] = {}
    for node in ast.parse(script.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            pairs = _pairs(node.targets[0], node.value)
            found |= {name.id: value.value for name, value in pairs if isinstance(name, ast.Name) and isinstance(value, ast.Constant)}
    return found


def _pairs(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, ast.expr]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return list(zip(target.elts, value.elts, strict=False))
    return [(target, value)]


def _lock_schema(connection: Connection, schema: str) -> None:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": zlib.crc32(f"steno.{schema}".encode())})
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))


def _engine(url: URL, schema: str) -> Engine:
    if url.get_backend_name() == "postgresql":
        return create_engine(url, poolclass=NullPool, connect_args=postgres_arguments(schema, _POSTGRES_SESSION))
    return _sqlite_engine(url)


def _sqlite_engine(url: URL) -> Engine:
    prepare_file(Path(str(url.database)))
    arguments = {"isolation_level": None, "timeout": _LOCK_SECONDS}
    engine = create_engine(url.set(drivername="sqlite"), poolclass=NullPool, connect_args=arguments)

    @event.listens_for(engine, "connect")
    def connected(connection: object, _record: object) -> None:
        # Batch mode drops and renames tables, which foreign keys would turn into deletions.
        apply_pragmas(connection, f"busy_timeout={_LOCK_SECONDS * 1000}", "foreign_keys=OFF")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
