"""Fresh databases of both kinds, each as durable as in production, and their raw rates."""

import importlib.util
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench import commits
from tests.servers import new_postgres_database, postgres_server

RawRate = Callable[[str, float, int], Awaitable[float]]


@dataclass(frozen=True)
class Databases:
    """One kind. make: the URL of a new, empty database; raw_rate: (url, seconds, clients) to submits per second."""

    kind: str
    make: Callable[[str], str]
    raw_rate: RawRate


@contextmanager
def sqlite_databases(folder: Path) -> Iterator[Databases]:
    """Files in the folder."""

    async def raw_rate(url: str, seconds: float, clients: int) -> float:
        return await commits.sqlite_rate(url, seconds)

    yield Databases("SQLite", lambda name: f"sqlite+aiosqlite:///{folder}/{name}.db", raw_rate)


@contextmanager
def postgres_databases(folder: Path) -> Iterator[Databases]:
    """Databases of a server that syncs every commit."""
    with postgres_server() as server:
        with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = on")
            connection.execute("SELECT pg_reload_conf()")

        async def raw_rate(url: str, seconds: float, clients: int) -> float:
            return await commits.postgres_rate(url, seconds, clients, folder, _pgbench())

        yield Databases("Postgres", lambda name: new_postgres_database(server), raw_rate)


def _pgbench() -> Path:
    """The pgbench of the Postgres that the tests use."""
    found = importlib.util.find_spec("pgserver")
    if found is None or found.origin is None:
        raise FileNotFoundError("the package pgserver is not installed")
    return Path(found.origin).parent / "pginstall" / "bin" / "pgbench"
