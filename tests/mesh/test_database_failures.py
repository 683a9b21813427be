"""What a caller is told when the database goes away, and what is true then."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh.database import Database, open_database, retried
from services.mesh.errors import ServiceUnavailable
from tests.servers import new_postgres_database

_WRITER = """
import asyncio, sys
from sqlalchemy import text
from services.mesh.database import open_database

async def main(url):
    async with open_database(url, schema="public") as database:
        async with database.transaction() as session:
            await (await session.connection()).execute(text("CREATE TABLE entry (id INTEGER PRIMARY KEY, half INTEGER)"))
        async def unit(session, number):
            connection = await session.connection()
            await connection.execute(text("INSERT INTO entry VALUES (:n, 1)"), {"n": 2 * number})
            await connection.execute(text("INSERT INTO entry VALUES (:n, 2)"), {"n": 2 * number + 1})
            return number
        async def worker(first):
            for number in range(first, 10**9, 8):
                print(await database.grouped(lambda session: unit(session, number)), flush=True)
        await asyncio.gather(*(worker(first) for first in range(8)))

asyncio.run(main(sys.argv[1]))
"""


async def execute(session: AsyncSession, statement: str) -> None:
    await (await session.connection()).execute(text(statement))


async def entries(database: Database) -> int:
    async with database.reading() as session:
        return int((await (await session.connection()).execute(text("SELECT count(*) FROM entry"))).scalar_one())


@asynccontextmanager
async def commit_swallowing_proxy(socket_path: Path) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A TCP port in front of Postgres; while the event is set, it cuts the line right after passing a COMMIT on."""
    armed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_unix_connection(str(socket_path))
        back = asyncio.create_task(pump(upstream, writer))
        while data := await reader.read(65536):
            cut = armed.is_set() and b"COMMIT" in data
            if cut:
                armed.clear()
                back.cancel()
            downstream.write(data)
            if cut:
                await asyncio.wait_for(upstream.read(1), 10)
                break
        for end in (writer, downstream):
            end.close()
        await asyncio.wait([back])

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], armed


@pytest.fixture
async def cut_line(postgres_url: str) -> AsyncIterator[tuple[Database, Database, asyncio.Event]]:
    """A database behind a line that can swallow an answer, the same by a good line, and the switch."""
    url = new_postgres_database(postgres_url)
    location, _, directory = url.partition("?host=")
    async with commit_swallowing_proxy(Path(directory) / ".s.PGSQL.5432") as (port, armed):
        behind = f"{location.replace('@/', f'@127.0.0.1:{port}/')}?sslmode=disable"
        async with open_database(behind, schema="public") as database, open_database(url, schema="public") as direct:
            async with direct.transaction() as session:
                await execute(session, "CREATE TABLE entry (id INTEGER)")
            yield database, direct, armed


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_lost_commit_answer_is_unknown_and_not_repeated(cut_line: tuple[Database, Database, asyncio.Event], grouped: bool) -> None:
    database, direct, armed = cut_line

    async def unit(session: AsyncSession) -> None:
        await execute(session, "INSERT INTO entry VALUES (1)")
        armed.set()

    async def single() -> None:
        async with database.transaction() as session:
            await unit(session)

    with pytest.raises(ServiceUnavailable) as caught:
        await retried((lambda: database.grouped(unit)) if grouped else single)
    assert caught.value.metadata == {"outcome": "unknown"}
    assert await entries(direct) == 1


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_connection_lost_before_the_commit_is_rolled_back_and_repeated(postgres_url: str, grouped: bool) -> None:
    tries: list[int] = []
    async with open_database(new_postgres_database(postgres_url), schema="public") as database:
        async with database.transaction() as session:
            await execute(session, "CREATE TABLE entry (id INTEGER)")

        async def unit(session: AsyncSession) -> None:
            tries.append(1)
            await execute(session, "INSERT INTO entry VALUES (1)")
            if len(tries) == 1:
                await execute(session, "SELECT pg_terminate_backend(pg_backend_pid())")

        async def single() -> None:
            async with database.transaction() as session:
                await unit(session)

        await retried((lambda: database.grouped(unit)) if grouped else single)
        assert len(tries) == 2
        assert await entries(database) == 1


async def test_units_in_the_group_of_a_lost_connection_are_told_so(postgres_url: str) -> None:
    async with open_database(new_postgres_database(postgres_url), schema="public") as database:

        async def fatal(session: AsyncSession) -> None:
            await execute(session, "SELECT pg_terminate_backend(pg_backend_pid())")

        async def good(session: AsyncSession) -> str:
            await execute(session, "SELECT 1")
            return "good"

        results = await asyncio.gather(*(database.grouped(unit) for unit in (good, fatal, good, good, fatal)), return_exceptions=True)
        assert all(result == "good" or isinstance(result, ServiceUnavailable) for result in results)
        assert await database.grouped(good) == "good"


async def test_no_unit_is_told_of_a_commit_when_the_disk_was_full_for_another(tmp_path: Path) -> None:
    async with open_database(f"sqlite+aiosqlite:///{tmp_path / 'steno.db'}", schema="public") as database:
        async with database.transaction() as session:
            await execute(session, "CREATE TABLE entry (id INTEGER, filling BLOB)")
            await execute(session, "PRAGMA max_page_count=20")

        async def insert(number: int) -> int:
            values = {"number": number, "size_bytes": 200_000 if number == 2 else 1}

            async def unit(session: AsyncSession) -> None:
                await (await session.connection()).execute(text("INSERT INTO entry VALUES (:number, zeroblob(:size_bytes))"), values)

            await database.grouped(unit)
            return number

        results = await asyncio.gather(*(insert(number) for number in range(6)), return_exceptions=True)
        told = [result for result in results if isinstance(result, int)]
        assert all(isinstance(result, int | ServiceUnavailable) for result in results)
        async with database.reading() as session:
            stored = (await (await session.connection()).execute(text("SELECT id FROM entry ORDER BY id"))).scalars()
            assert list(stored) == told
        assert await insert(9) == 9


async def test_a_busy_sqlite_is_rolled_back_and_repeated(tmp_path: Path) -> None:
    path = tmp_path / "steno.db"
    async with open_database(f"sqlite+aiosqlite:///{path}", schema="public") as database:
        async with database.transaction() as session:
            await execute(session, "CREATE TABLE entry (id INTEGER)")
            await execute(session, "PRAGMA busy_timeout=10")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        async def insert() -> None:
            async with database.transaction() as session:
                await execute(session, "INSERT INTO entry VALUES (1)")

        with pytest.raises(ServiceUnavailable) as caught:
            await insert()
        assert caught.value.metadata == {"outcome": "rolled_back"}
        other.execute("ROLLBACK")
        other.close()
        await retried(insert)
        assert await entries(database) == 1


async def test_what_was_answered_survives_a_killed_process_and_no_unit_is_half(database_url: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, database_url], stdout=subprocess.PIPE, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert process.stdout is not None
    answered = [int(await asyncio.to_thread(process.stdout.readline)) for _ in range(60)]
    process.send_signal(signal.SIGKILL)
    rest, _ = await asyncio.to_thread(process.communicate)
    answered += [int(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
    async with open_database(database_url, schema="public") as database, database.reading() as session:
        rows = (await (await session.connection()).execute(text("SELECT id, half FROM entry"))).all()
    firsts = {row.id // 2 for row in rows if row.half == 1}
    seconds = {row.id // 2 for row in rows if row.half == 2}
    assert firsts == seconds
    assert set(answered) <= firsts
