"""What every test shares."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import new_postgres_database, postgres_server


def pytest_addoption(parser: pytest.Parser) -> None:
    """--faults=long runs the fault tests over as many jobs as `make test-faults` promises."""
    parser.addoption("--faults", choices=("short", "long"), default="short")


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
