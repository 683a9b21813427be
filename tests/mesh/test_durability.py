"""In production no service relies on a server that may lose what it confirmed."""

import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psycopg
import pytest

from services.mesh import engines
from services.mesh.database_durability import ask_database
from services.mesh.durability import NoAnswer, ask_nats
from services.mesh.sqlite_file import UnfitFile
from tests.servers import as_superuser, free_port, nats_binary, new_postgres_database, wait_for_port

_SETTING = "STENO_JOBS_DATABASE_URL"


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


async def _told(url: str) -> list[str]:
    return [weakness.sentence for weakness in await ask_database(_SETTING, url, "jobs")]


async def test_a_postgres_that_syncs_is_relied_on(postgres_url: str) -> None:
    with syncing(postgres_url):
        assert await _told(new_postgres_database(postgres_url)) == []


async def test_a_postgres_that_does_not_sync_is_weak(postgres_url: str) -> None:
    [told] = await _told(new_postgres_database(postgres_url))
    assert told.startswith(f"{_SETTING}: ")
    assert told.endswith("turn on fsync")


async def test_a_role_or_database_that_commits_without_waiting_is_weak(postgres_url: str) -> None:
    url = new_postgres_database(postgres_url)
    with syncing(postgres_url), psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = off".encode())
        [told] = await _told(url)
    assert told.endswith("turn on synchronous_commit")


async def test_a_role_above_row_security_is_weak(postgres_url: str) -> None:
    url = new_postgres_database(postgres_url)
    with syncing(postgres_url):
        [weakness] = await ask_database(_SETTING, as_superuser(url), "jobs")
        assert weakness.risk == "database_role"
        assert weakness.sentence.startswith(f"{_SETTING}: ")
        with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("ALTER ROLE steno BYPASSRLS")
            try:
                [told] = await _told(url)
            finally:
                connection.execute("ALTER ROLE steno NOBYPASSRLS")
    assert "the role steno" in told


async def test_a_postgres_that_is_away_gives_no_answer_and_says_why() -> None:
    with pytest.raises(NoAnswer, match="refused"):
        await ask_database(_SETTING, f"postgresql+psycopg://steno@127.0.0.1:{free_port()}/steno", "jobs")


async def test_sqlite_is_relied_on_as_every_service_opens_it(tmp_path: Path) -> None:
    assert await _told(f"sqlite+aiosqlite:///{tmp_path}/jobs.db") == []


async def test_a_sqlite_that_got_less_than_it_should_is_weak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_SQLITE_PRAGMAS", ("journal_mode=DELETE", "synchronous=NORMAL"))
    told = await _told(f"sqlite+aiosqlite:///{tmp_path}/jobs.db")
    assert [sentence.partition(";")[0] for sentence in told] == [
        f"{_SETTING}: SQLite's synchronous is 1, not FULL",
        f"{_SETTING}: SQLite's journal_mode is delete, not WAL",
    ]


async def test_a_damaged_sqlite_file_is_told_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"no database at all" * 100)
    (tmp_path / "jobs.db-wal").write_bytes(b"left open")
    with pytest.raises(UnfitFile, match="not a database"):
        await ask_database(_SETTING, f"sqlite+aiosqlite:///{tmp_path}/jobs.db", "jobs")


@asynccontextmanager
async def nats_monitor(folder: Path, jetstream: dict[str, object] | None, monitor: int = 0) -> AsyncIterator[str]:
    """The monitor's URL of a nats-server with this block."""
    port, monitor = free_port(), monitor or free_port()
    settings: dict[str, object] = {"host": "127.0.0.1", "port": port, "http": f"127.0.0.1:{monitor}"}
    if jetstream is not None:
        settings["jetstream"] = {"store_dir": str(folder / "store"), **jetstream}
    (folder / "nats.json").write_text(json.dumps(settings))
    with (folder / "nats.log").open("ab") as log:
        process = subprocess.Popen([nats_binary(), "-c", str(folder / "nats.json")], stdout=log, stderr=log)
    try:
        await wait_for_port(monitor)
        await wait_for_port(port)
        yield f"http://127.0.0.1:{monitor}"
    finally:
        process.kill()
        process.wait(timeout=20)


@pytest.mark.parametrize(
    ("jetstream", "told"),
    [
        ({"sync_interval": "always"}, None),
        ({}, "syncs every 120 s"),
        ({"sync_interval": "10s"}, "syncs every 10 s"),
        (None, "JetStream is off"),
    ],
)
async def test_only_a_nats_that_syncs_every_message_is_relied_on(
    jetstream: dict[str, object] | None, told: str | None, tmp_path: Path
) -> None:
    async with nats_monitor(tmp_path, jetstream) as url:
        found = await ask_nats("STENO_JOBS_NATS_MONITOR_URL", f"{url}/")
    assert len(found) == (told is not None)
    assert all(told and told in weakness.sentence and weakness.risk == "bus_durability" for weakness in found)


async def test_what_is_no_monitor_gives_no_answer(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer):
        await ask_nats("STENO_JOBS_NATS_MONITOR_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises((NoAnswer, ssl.SSLError)):
        await ask_nats("STENO_JOBS_NATS_MONITOR_URL", "not a url")
