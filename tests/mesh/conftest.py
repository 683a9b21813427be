"""Databases and a bus for the tests of the mesh."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from services.mesh.bus import Bus, open_bus
from services.mesh.database import Database, open_database
from tests.servers import NatsServer, nats_server, new_postgres_database, postgres_server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """One Postgres for the whole session."""
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/steno.db"
    return new_postgres_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database; its schema is Postgres' default one."""
    async with open_database(database_url, schema="public") as opened:
        yield opened


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A nats-server of the test's own."""
    async with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def bus(nats: NatsServer) -> AsyncIterator[Bus]:
    """A bus on that server."""
    opened: AbstractAsyncContextManager[Bus] = open_bus(nats.url, name="test")
    async with opened as connected:
        yield connected
