"""Fixtures of the jobs tests: each runs on SQLite and on Postgres."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import psycopg
import pytest

from tests.jobs.stage import Stage, open_stage
from tests.servers import new_postgres_database, postgres_server

StageFactory = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """One Postgres database for all tests."""
    with postgres_server() as url:
        yield new_postgres_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind, without the schema of jobs."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/jobs.db"
    url: str = request.getfixturevalue("postgres_url")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS jobs CASCADE")
    return url


@pytest.fixture
def stage(tmp_path: Path, database_url: str) -> StageFactory:
    """Opens the stage, within the test's own task."""
    return partial(open_stage, tmp_path, database_url)
