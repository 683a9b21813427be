"""In production no service relies on a Postgres that may lose what it confirmed."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from services.mesh.database import open_database
from services.mesh.durability import require_durable
from services.mesh.settings import UnusableSettings
from tests.proxies import postgres_proxy
from tests.servers import new_postgres_database


@contextmanager
def syncing(server_url: str) -> Iterator[None]:
    """The tests' Postgres as it is by default, within."""
    with psycopg.connect(server_url.replace("+psycopg", ""), autocommit=True) as connection:
        _set_fsync(connection, "on")
        try:
            yield
        finally:
            _set_fsync(connection, "off")


def _set_fsync(connection: "psycopg.Connection[tuple[str]]", value: str) -> None:
    connection.execute(f"ALTER SYSTEM SET fsync = {value}".encode())
    connection.execute("SELECT pg_reload_conf()")
    end = time.monotonic() + 60
    while connection.execute("SHOW fsync").fetchone() != (value,):
        assert time.monotonic() < end, "the configuration was not read again"


async def test_a_database_that_syncs_is_relied_on(postgres_url: str) -> None:
    with syncing(postgres_url):
        async with open_database(new_postgres_database(postgres_url), schema="jobs") as database:
            await require_durable(database, asyncio.Event())


async def test_a_database_that_does_not_sync_is_refused(postgres_url: str) -> None:
    async with open_database(new_postgres_database(postgres_url), schema="jobs") as database:
        with pytest.raises(UnusableSettings, match=r"turn on fsync$"):
            await require_durable(database, asyncio.Event())


async def test_a_role_or_database_that_commits_without_waiting_is_refused(postgres_url: str) -> None:
    url = new_postgres_database(postgres_url)
    with syncing(postgres_url), psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = off".encode())
        async with open_database(url, schema="jobs") as database:
            with pytest.raises(UnusableSettings, match=r"turn on synchronous_commit$"):
                await require_durable(database, asyncio.Event())


async def test_a_database_that_starts_later_is_waited_for(postgres_url: str) -> None:
    async with postgres_proxy(new_postgres_database(postgres_url)) as (proxy, url), open_database(url, schema="jobs") as database:
        proxy.close()
        asking = asyncio.create_task(require_durable(database, asyncio.Event()))
        await asyncio.wait({asking}, timeout=0.5)
        assert not asking.done()
        await proxy.open()
        with pytest.raises(UnusableSettings):
            await asking


async def test_a_service_that_is_told_to_stop_waits_no_longer(postgres_url: str) -> None:
    stopping = asyncio.Event()
    async with postgres_proxy(postgres_url) as (proxy, url), open_database(url, schema="jobs") as database:
        proxy.close()
        asking = asyncio.create_task(require_durable(database, stopping))
        await asyncio.wait({asking}, timeout=0.5)
        stopping.set()
        await asking
