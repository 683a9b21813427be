"""On Postgres a transaction sees the rows of the workspace that it works for, whatever its statements forgot to say."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Select, delete, insert, select, text, update
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError
from sqlmodel import Field, SQLModel, col
from sqlmodel.ext.asyncio.session import AsyncSession

import services
from services.mesh.columns import table_of, table_registry
from services.mesh.database import Database, open_database
from services.mesh.identity import Caller, CallerKind, acting_for, calling_as
from services.mesh.migrations import migrate
from services.mesh.row_security import FOR_EVERY, protection, rows_beside, rows_of
from tests.servers import new_postgres_database

WORKSPACES = ("one", "two", "three")
REFUSED = "row-level security"
_LONG_SECONDS = 12.0


class Table(SQLModel, registry=table_registry()):
    """Tables of this test."""


class Note(Table, table=True):
    """What a workspace owns."""

    id: str = Field(primary_key=True)
    workspace_id: str


class Line(Table, table=True):
    """A part of a note, which alone says whose it is."""

    note_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True)


# What a statement without a predicate of its workspace would read.
_ALL: Select[Any] = select(table_of(Note)).order_by(col(Note.id))
_LINES: Select[Any] = select(table_of(Line)).order_by(col(Line.note_id))


@pytest.fixture
def url(postgres_url: str) -> str:
    return new_postgres_database(postgres_url)


@pytest.fixture
async def notes(url: str) -> AsyncIterator[Database]:
    """A note of one line of each workspace, locked."""
    async with open_database(url, schema="public") as database:
        async with database.transaction() as session:
            connection = await session.connection()
            await connection.run_sync(Table.metadata.create_all)
            for table, condition in {"note": rows_of(), "line": rows_beside("line", "note_id", "note")}.items():
                for statement in protection(table, condition):
                    await connection.execute(text(statement))
            session.add_all([Note(id=f"note {name}", workspace_id=name) for name in WORKSPACES])
            session.add_all([Line(note_id=f"note {name}", number=1) for name in WORKSPACES])
        yield database


async def write_many(database: Database) -> None:
    """As workspace two, after workspace one; many rows at once travel another way than one."""
    async with database.transaction() as session:
        with calling_as(caller("one")):
            assert await seen(session) == ["one"]
        with calling_as(caller("two")):
            many = [{"id": str(number), "workspace_id": "one"} for number in range(5)]
            await (await session.connection()).execute(insert(table_of(Note)).inline(), many)


def caller(workspace_id: str) -> Caller:
    return Caller(CallerKind.KEY, "gateway", workspace_id, "workspace")


async def single(database: Database) -> list[str]:
    return [row.workspace_id for row in await database.read_all(_ALL)]


async def snapshot(database: Database) -> list[str]:
    async with database.reading() as session:
        return await seen(session)


async def transaction(database: Database) -> list[str]:
    async with database.transaction() as session:
        return await seen(session)


async def grouped(database: Database) -> list[str]:
    return await database.grouped(seen)


async def seen(session: AsyncSession) -> list[str]:
    return [row.workspace_id for row in await (await session.connection()).execute(_ALL)]


WAYS = pytest.mark.parametrize("way", [single, snapshot, transaction, grouped])


@WAYS
async def test_a_request_sees_its_workspace_only(notes: Database, way: Callable[[Database], Awaitable[list[str]]]) -> None:
    for name in (*WORKSPACES, *reversed(WORKSPACES)):
        with calling_as(caller(name)):
            assert await way(notes) == [name]


@WAYS
async def test_what_nobody_asks_for_sees_every_workspace(notes: Database, way: Callable[[Database], Awaitable[list[str]]]) -> None:
    with acting_for("two"):
        assert await way(notes) == ["two"]
    assert await way(notes) == ["one", "three", "two"]
    with calling_as(Caller(CallerKind.SERVICE, "jobs")):
        assert await way(notes) == ["one", "three", "two"]


async def test_a_workspace_that_owns_nothing_sees_nothing(notes: Database) -> None:
    with calling_as(caller("nobody's")):
        assert await single(notes) == []


async def test_a_part_is_in_sight_with_what_it_belongs_to(notes: Database) -> None:
    with calling_as(caller("two")):
        assert [row.note_id for row in await notes.read_all(_LINES)] == ["note two"]
    assert len(await notes.read_all(_LINES)) == len(WORKSPACES)


async def test_a_change_reaches_no_other_workspace(notes: Database) -> None:
    with calling_as(caller("two")):
        async with notes.transaction() as session:
            changed = await (await session.connection()).execute(update(Note).values(id="changed"))
            assert changed.rowcount == 1
        async with notes.transaction() as session:
            assert (await (await session.connection()).execute(delete(Note))).rowcount == 1
    assert await single(notes) == ["one", "three"]


async def test_a_row_of_another_workspace_is_not_written(notes: Database) -> None:
    with calling_as(caller("two")), pytest.raises(ProgrammingError, match=REFUSED):
        async with notes.transaction() as session:
            session.add(Note(id="mine", workspace_id="one"))
    with pytest.raises(ProgrammingError, match=REFUSED):
        await write_many(notes)
    assert await single(notes) == ["one", "three", "two"]


async def test_what_was_undone_is_told_again(notes: Database) -> None:
    async def fails(session: AsyncSession) -> None:
        await seen(session)
        raise LookupError

    for name in ("one", "two"):
        with calling_as(caller(name)):
            with pytest.raises(LookupError):
                async with notes.transaction() as session:
                    await fails(session)
            assert await transaction(notes) == [name]
            async with notes.transaction() as session:
                with pytest.raises(LookupError):
                    async with session.begin_nested():
                        await fails(session)
                assert await seen(session) == [name]


async def test_a_commit_that_undoes_is_told_again(notes: Database) -> None:
    with calling_as(caller("two")):
        async with notes.transaction() as session:
            with calling_as(caller("one")):
                assert await seen(session) == ["one"]
                with pytest.raises(DataError):
                    await (await session.connection()).execute(text("SELECT 1 / 0"))
    with calling_as(caller("one")):
        assert await transaction(notes) == ["one"]


async def test_a_commit_that_fails_is_told_again(notes: Database) -> None:
    """By a constraint that is checked at the commit; a group's connection was told within the transaction."""
    async with notes.transaction() as session:
        deferred = "ALTER TABLE note ADD CONSTRAINT once UNIQUE (workspace_id) DEFERRABLE INITIALLY DEFERRED"
        await (await session.connection()).execute(text(deferred))

    async def add(session: AsyncSession) -> None:
        session.add(Note(id="another", workspace_id="two"))

    with calling_as(caller("two")):
        with pytest.raises(IntegrityError):
            await notes.grouped(add)
        for _ in range(4):
            assert await transaction(notes) == ["two"]


async def test_what_a_unit_leaves_to_write_is_its_callers(notes: Database) -> None:
    async def add(session: AsyncSession) -> None:
        session.add(Note(id="mine", workspace_id="one"))

    with calling_as(caller("two")), pytest.raises(ProgrammingError, match=REFUSED):
        await notes.grouped(add)
    assert await single(notes) == ["one", "three", "two"]


async def test_a_statement_that_tells_can_be_cancelled(notes: Database) -> None:
    async def wait(session: AsyncSession, seconds: float) -> None:
        with calling_as(caller("two")):
            await (await session.connection()).execute(text("SELECT pg_sleep(:seconds)"), {"seconds": seconds})

    with calling_as(caller("one")):
        started = asyncio.get_running_loop().time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3), notes.transaction() as session:
                await wait(session, _LONG_SECONDS)
        assert asyncio.get_running_loop().time() - started < _LONG_SECONDS / 2
        assert await transaction(notes) == ["one"]


async def test_units_of_many_workspaces_share_commits_and_no_rows(notes: Database) -> None:
    """Some fail halfway, and every connection of the pool serves everybody."""
    chance, ways = random.Random(7), (single, snapshot, transaction, grouped)

    async def fail(session: AsyncSession) -> list[str]:
        await seen(session)
        await (await session.connection()).execute(text("SELECT 1 / 0"))
        raise AssertionError("not reached")

    async def asks(name: str) -> None:
        with calling_as(caller(name)):
            for _ in range(15):
                if chance.random() < 0.3:
                    with pytest.raises(Exception, match="division by zero"):
                        await notes.grouped(fail)
                assert await chance.choice(ways)(notes) == [name]

    async with asyncio.TaskGroup() as tasks:
        for number in range(24):
            tasks.create_task(asks(WORKSPACES[number % 3]))


async def test_a_session_that_names_no_workspace_sees_nothing(notes: Database, url: str) -> None:
    assert len(await single(notes)) == len(WORKSPACES)
    assert _rows(url, "") == 0
    assert _rows(url, FOR_EVERY) == len(WORKSPACES)


def _rows(url: str, options: str) -> int:
    with psycopg.connect(url.replace("+psycopg", ""), options=options) as connection:
        row = connection.execute("SELECT count(*) FROM note").fetchone()
    return int(row[0]) if row else -1


# Of no workspace: where the schema stands, and events that carry ids.
_OPEN = {"alembic_version", "outbox", "inbox"}


@pytest.mark.parametrize("service", ["billing", "jobs", "storage"])
async def test_every_table_of_a_service_is_locked_for_its_owner_too(service: str, url: str) -> None:
    scripts = Path(services.__file__).parent / service / "migrations"
    await migrate(url, schema=service, script_location=str(scripts))
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        tables = connection.execute(
            "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class"
            " JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = %s AND relkind = 'r'",
            [service],
        ).fetchall()
    assert {name for name, locked in tables if not locked} == _OPEN & {name for name, _ in tables}
    assert sum(locked for _, locked in tables) >= 6
