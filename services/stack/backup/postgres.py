"""Schemas of Postgres, by its own pg_dump and pg_restore."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from services.client.failures import CommandFailed
from services.mesh.row_security import FOR_EVERY

_SECONDS = 6 * 3600
_TOLD = 5


def dump(url: str, schemas: Sequence[str], target: Path) -> None:
    """The schemas, as they were at one instant. Raises CommandFailed, as everything here does."""
    chosen = [f"--schema={schema}" for schema in schemas]
    _run("pg_dump", url, ["--format=custom", "--no-owner", "--no-privileges", "--enable-row-security", *chosen, f"--file={target}"])


def load(url: str, schemas: Sequence[str], source: Path) -> None:
    """All of it or nothing, over whatever the schemas held."""
    with _connected(url) as connection:
        for schema in schemas:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    _run("pg_restore", url, ["--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error", str(source)], into=True)


def groups(servers: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    """The services of each database, by its URL: those of one are dumped together."""
    found: dict[str, list[str]] = {}
    for service, url in servers.items():
        found.setdefault(url, []).append(service)
    return found


def tables(url: str, schema: str) -> int:
    """How many tables there are."""
    with _connected(url) as connection:
        row = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = %s", [schema]).fetchone()
    return int(row[0]) if row else 0


def revision(url: str, schema: str) -> str:
    """Where the schema is; empty for none."""
    if not tables(url, schema):
        return ""
    found = rows(url, schema, "SELECT version_num FROM alembic_version")
    return str(found[0][0]) if found else ""


def rows(url: str, schema: str, query: str) -> list[Any]:
    """The rows of a query over the schema."""
    with _connected(url) as connection:
        connection.execute(f"SET search_path TO {schema}")
        return list(connection.execute(query).fetchall())


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    # Imported here: an installation on SQLite does without the extra `postgres`.
    import psycopg

    try:
        with psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True, options=FOR_EVERY) as connection:
            yield connection
    except psycopg.Error as error:
        raise CommandFailed(f"{make_url(url).render_as_string(hide_password=True)}: {error}") from error


def _run(program: str, url: str, arguments: Sequence[str], *, into: bool = False) -> None:
    found = shutil.which(program)
    if found is None:
        raise CommandFailed(f"{program} is not on the PATH: install PostgreSQL's client programs, of the server's version or a newer one")
    parsed = make_url(url).set(drivername="postgresql")
    secret = {"PGPASSWORD": parsed.password} if parsed.password else {}
    place = parsed.set(password=None).render_as_string(hide_password=False)
    run = subprocess.run(
        [found, f"--dbname={place}", *arguments],
        env={**os.environ, **secret, "PGOPTIONS": FOR_EVERY},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if run.returncode:
        told = " ".join(run.stderr.strip().splitlines()[-_TOLD:])
        raise CommandFailed(f"{program} {'into' if into else 'of'} {place} failed: {told}")
