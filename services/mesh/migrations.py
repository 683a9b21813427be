"""Schema migrations: Alembic's upgrade to head, in one transaction, by one migrator at a time."""

import ast
import asyncio
import threading
import zlib
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, MetaData, create_engine, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from services.mesh import fault
from services.mesh.engines import apply_pragmas, parse_url, postgres_arguments
from services.mesh.sqlite_file import prepare_file

_LOCK_SECONDS = 60
_POSTGRES_SESSION = {"lock_timeout": f"{_LOCK_SECONDS}s", "statement_timeout": "15min"}
# Alembic's `context` and `op` are proxies of the process: two upgrades in two threads would share them.
_ALEMBIC = threading.Lock()


async def migrate(url: str, *, schema: str, script_location: str) -> None:
    """Bring the database at url to the newest revision; harmless when it is there already.

    script_location: the folder with env.py and versions/. Raises alembic's CommandError when the database
    is at a revision that these scripts do not know.
    """
    await asyncio.to_thread(_migrate, parse_url(url), schema, script_location)


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
    engine = _engine(url, schema)
    with engine.connect() as connection:
        if _revisions(connection) == _heads(Path(script_location)):
            return
    with _ALEMBIC, engine.begin() as connection:
        if url.get_backend_name() == "postgresql":
            _lock_schema(connection, schema)
        _upgrade(connection, script_location)
        fault.point("migration.upgrade.before_commit")
    fault.point("migration.upgrade.after_commit")


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


def _heads(scripts: Path) -> set[str]:
    """Revisions that no other script of the folder follows."""
    assigned = [_assigned(path) for path in (scripts / "versions").glob("*.py")]
    return {found["revision"] for found in assigned} - {found.get("down_revision") for found in assigned}


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
