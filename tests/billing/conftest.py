"""Billing on SQLite and on Postgres."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.billing.service import Running, running
from tests.billing.stage import Stage, open_stage
from tests.servers import new_postgres_database, postgres_server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """One Postgres for the whole session."""
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/billing.db"
    return new_postgres_database(request.getfixturevalue("postgres_url"))


@pytest.fixture
async def stage(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """Billing's use cases on each database."""
    async with open_stage(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    """A running billing service."""
    async with running(tmp_path) as opened:
        yield opened
