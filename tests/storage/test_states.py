"""What the database itself refuses, whatever the code above it does."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import Executable, delete, update
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from services.mesh.columns import table_of
from services.mesh.database import Database, open_database
from services.mesh.ids import new_id
from services.mesh.migrations import migrate
from services.storage.app import MIGRATIONS, SCHEMA
from services.storage.domain import State, new_object_key
from services.storage.store import objects
from services.storage.store.tables import Artefact

ARTEFACT = table_of(Artefact)
READY_FACTS: dict[str, Any] = {"size_bytes": 1, "sha256": "0" * 64}
READY, DELETED = [State.READY], [State.READY, State.DELETED]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An empty database of storage."""
    await migrate(database_url, schema=SCHEMA, script_location=str(MIGRATIONS))
    async with open_database(database_url, schema=SCHEMA) as opened:
        yield opened


async def run(database: Database, statement: Executable) -> None:
    async with database.transaction() as session:
        await (await session.connection()).execute(statement)


async def artefact(database: Database, steps: list[State]) -> str:
    """An artefact with bytes, brought along these states."""
    object_id = new_id()
    async with database.transaction() as session:
        now = await objects.clock(session)
        facts = {"object_key": new_object_key(), **READY_FACTS}
        row = Artefact(id=object_id, workspace_id="w", state=State.UPLOADING, create_time=now, change_time=now, **facts)
        await objects.add(session, row)
    for step in steps:
        await run(database, update(ARTEFACT).where(ARTEFACT.c.id == object_id).values(state=step))
    return object_id


@pytest.mark.parametrize(
    ("steps", "change"),
    [
        (READY, {"state": State.UPLOADING}),
        (DELETED, {"state": State.READY}),
        (DELETED, {"state": State.UPLOADING}),
        (READY, {"object_key": "f" * 32}),
        (READY, {"sha256": "1" * 64}),
        (READY, {"size_bytes": 2}),
        (READY, {"workspace_id": "another"}),
        (DELETED, {"object_key": None}),
    ],
)
async def test_a_stored_object_neither_comes_back_nor_changes(database: Database, steps: list[State], change: dict[str, Any]) -> None:
    object_id = await artefact(database, steps)
    with pytest.raises(DBAPIError):
        await run(database, update(ARTEFACT).where(ARTEFACT.c.id == object_id).values(change))


async def test_another_upload_may_replace_bytes_until_they_are_readable(database: Database) -> None:
    object_id = await artefact(database, [])
    await run(database, update(ARTEFACT).where(ARTEFACT.c.id == object_id).values(object_key="f" * 32, size_bytes=2, state=State.READY))
    async with database.reading() as session:
        [row] = (await session.exec(select(Artefact))).all()
    assert (row.state, row.object_key, row.size_bytes) == (State.READY, "f" * 32, 2)


@pytest.mark.parametrize("steps", [[], READY])
async def test_no_row_goes_before_it_is_deleted(database: Database, steps: list[State]) -> None:
    object_id = await artefact(database, steps)
    with pytest.raises(DBAPIError):
        await run(database, delete(ARTEFACT).where(ARTEFACT.c.id == object_id))


async def test_the_row_of_a_deleted_object_goes(database: Database) -> None:
    object_id = await artefact(database, DELETED)
    await run(database, delete(ARTEFACT).where(ARTEFACT.c.id == object_id))
    async with database.reading() as session:
        assert (await session.exec(select(Artefact))).all() == []
