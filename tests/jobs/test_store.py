"""What the database itself promises."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Boolean, Column, Connection, Executable, Float, Integer, LargeBinary, delete, update
from sqlalchemy.exc import DBAPIError

from services.jobs.app import MIGRATIONS, SCHEMA
from services.jobs.store.jobs import JOB, insert_jobs, read_job
from services.jobs.store.tables import Table
from services.mesh.columns import UtcDateTime
from services.mesh.database import Database, open_database
from services.mesh.ids import new_id
from services.mesh.migrations import migrate

ORDER: dict[str, Any] = {
    "workspace_id": "ws",
    "owner": "workspace",
    "source": 4,
    "media_sha256": "0",
    "filename": "f",
    "audio_duration_ms": 1,
    "held_ms": 1,
    "config": b"",
}
PATHS = {1: [], 2: [2], 3: [2, 3], 4: [2, 4], 5: [5]}
ALLOWED = {1: {1, 2, 5}, 2: {1, 2, 3, 4, 5}, 3: {3}, 4: {4}, 5: {5}}


async def run(database: Database, statement: Executable) -> None:
    async with database.transaction() as session:
        await (await session.connection()).execute(statement)


def changed(job_id: str, **values: object) -> Executable:
    return update(JOB).where(JOB.c.id == job_id).values(**values)


async def job_in(database: Database, state: int) -> str:
    """A job brought to a state by allowed edges."""
    job_id = new_id()
    async with database.transaction() as session:
        await insert_jobs(session, [{"id": job_id, "media_id": job_id, **ORDER}])
    for step in PATHS[state]:
        await run(database, changed(job_id, state=step))
    return job_id


async def state_of(database: Database, job_id: str) -> int:
    async with database.reading() as session:
        row = await read_job(session, job_id)
    assert row is not None
    return int(row.state)


async def test_the_database_refuses_every_other_edge(database_url: str) -> None:
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database:
        for before, allowed in ALLOWED.items():
            for after in (0, 1, 2, 3, 4, 5, 6):
                job_id = await job_in(database, before)
                if after in allowed:
                    await run(database, changed(job_id, state=after))
                    assert await state_of(database, job_id) == after
                    continue
                with pytest.raises(DBAPIError):
                    await run(database, changed(job_id, state=after))
                assert await state_of(database, job_id) == before


async def test_a_job_that_has_ended_changes_only_by_being_deleted(database_url: str) -> None:
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database:
        job_id = await job_in(database, 3)
        for column in (column for column in JOB.columns if column.name not in ("delete_time", "state")):
            with pytest.raises(DBAPIError):
                await run(database, changed(job_id, **{column.name: _another(column)}))
        with pytest.raises(DBAPIError):
            await run(database, delete(JOB).where(JOB.c.id == job_id))
        await run(database, changed(job_id, delete_time=JOB.c.create_time))
        await run(database, delete(JOB).where(JOB.c.id == job_id))
        working = await job_in(database, 2)
        with pytest.raises(DBAPIError):
            await run(database, changed(working, delete_time=JOB.c.create_time))


def _another(column: Column[Any]) -> object:
    """A value of the column's type that a job freshly done does not have."""
    others: tuple[tuple[type, object], ...] = (
        (UtcDateTime, datetime(2001, 1, 1, tzinfo=UTC)),
        (LargeBinary, b"x"),
        (Boolean, True),
        (Float, 0.7),
        (Integer, 77),
    )
    return next((value for kind, value in others if isinstance(column.type, kind)), "x")


async def test_migrations_make_the_tables_that_the_code_declares(database_url: str, tmp_path: Path) -> None:
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database, database.reading() as session:
        connection = await session.connection()
        assert await connection.run_sync(_differences) == []


def _differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list[object](compare_metadata(context, Table.metadata))
