"""Databases and a bus for the tests of the mesh."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from services.mesh.bus import Bus, open_bus
from services.mesh.database import Database, open_database
from tests.servers import NatsServer, nats_server


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
