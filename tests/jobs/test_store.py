"""What the database itself promises."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Boolean, Column, Connection, Executable, Float, Integer, LargeBinary, delete, func, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.app import MIGRATIONS, SCHEMA
from services.jobs.store.jobs import JOB, insert_jobs, lock_job, read_job
from services.jobs.store.listing import TALLY
from services.jobs.store.statements import execute
from services.jobs.store.tables import Table
from services.jobs.usecases.endings import cancel_job
from services.mesh.columns import UtcDateTime, now_utc_sql
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
    "wallet_id": "",
    "title": "",
    "url": "",
    "claim_digest": None,
    "waiting": 0,
    "retention_days": 30,
    "trace_parent": "",
}
PATHS = {1: [], 2: [2], 3: [2, 3], 4: [2, 4], 5: [5]}
ALLOWED = {1: {1, 2, 5}, 2: {1, 2, 3, 4, 5}, 3: {3}, 4: {4}, 5: {5}}


async def run(database: Database, statement: Executable) -> None:
    async with database.transaction() as session:
        await (await session.connection()).execute(statement)


def changed(job_id: str, **values: object) -> Executable:
    return update(JOB).where(JOB.c.id == job_id).values(**values)


async def job_in(database: Database, state: int, **values: Any) -> str:
    """A job brought to a state by allowed edges."""
    job_id = new_id()
    async with database.transaction() as session:
        await insert_jobs(session, [{"id": job_id, "media_id": job_id, **ORDER, **values}])
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


async def refused(database: Database, job_id: str, **values: object) -> None:
    with pytest.raises(DBAPIError):
        await run(database, changed(job_id, **values))


async def test_a_job_without_its_media_is_neither_handed_out_nor_worked_on(database_url: str) -> None:
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database:
        for waiting in (1, 2):
            job_id = await job_in(database, 1, waiting=waiting)
            for values in ({"state": 2}, {"state": 2, "waiting": 0}, {"state": 3}, {"waiting": 3 - waiting}, {"state": 4}, {"state": 5}):
                await refused(database, job_id, **values)
            await refused(database, job_id, dispatch_time=JOB.c.create_time)
            await run(database, changed(job_id, waiting=0))
            await refused(database, job_id, waiting=waiting)
            await refused(database, job_id, state=4)
        for state in (4, 5):
            await run(database, changed(await job_in(database, 1, waiting=1), state=state, waiting=0))


async def test_a_job_changes_hands_once_to_a_user_by_its_claim_token(database_url: str) -> None:
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database:
        for number, state in enumerate((1, 2, 3)):
            job_id = await job_in(database, state, owner="guest:app", claim_digest=f"d{number}")
            early: tuple[dict[str, object], ...] = (
                {"owner": "user:a"},
                {"claim_digest": None},
                {"claim_digest": "x"},
                {"owner": "guest:b", "claim_digest": None},
            )
            for values in early:
                await refused(database, job_id, **values)
            await run(database, changed(job_id, owner="user:a", claim_digest=None))
            late: tuple[dict[str, object], ...] = ({"owner": "user:b"}, {"owner": "user:b", "claim_digest": None}, {"claim_digest": "x"})
            for values in late:
                await refused(database, job_id, **values)
        tally = select(TALLY.c.owner, TALLY.c.state, func.sum(TALLY.c.delta).label("total")).group_by(TALLY.c.owner, TALLY.c.state)
        counts = {(row.owner, row.state): int(row.total) for row in await database.read_all(tally) if row.total}
        assert counts == {("user:a", 1): 1, ("user:a", 2): 1, ("user:a", 3): 1}


async def test_how_long_ended_audio_is_kept_changes_only_with_its_owner(database_url: str) -> None:
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database:
        job_id = await job_in(database, 2, owner="guest:app", claim_digest="d")
        then = datetime(2001, 1, 1, tzinfo=UTC)
        await run(database, changed(job_id, state=3, audio_expire_time=then, removal_time=then))
        later = {"retention_days": 99, "audio_expire_time": JOB.c.create_time, "removal_time": JOB.c.create_time}
        for name, value in later.items():
            await refused(database, job_id, **{name: value})
        await run(database, changed(job_id, owner="user:a", claim_digest=None, **later))
        await run(database, changed(job_id, removal_time=None))
        await refused(database, job_id, removal_time=then)


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


async def test_a_job_does_not_end_before_the_start_that_its_end_waited_for(database_url: str) -> None:
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database:
        job_id = await job_in(database, 1)

        async def cancel() -> None:
            async with database.transaction() as session:
                row = await lock_job(session, job_id)
                assert row is not None
                await cancel_job(session, row, row.now)

        async with database.transaction() as session:
            await lock_job(session, job_id)
            cancelling = asyncio.create_task(cancel())
            if database.dialect == "postgresql":
                await _somebody_waits(session)
            await execute(session, changed(job_id, state=2, fence=1, attempt=1, start_time=now_utc_sql(database.dialect)))
        await cancelling
        [row] = await database.read_all(select(JOB).where(JOB.c.id == job_id))
        assert row.state == 5
        assert row.complete_time >= row.start_time


async def _somebody_waits(session: AsyncSession) -> None:
    async with asyncio.timeout(20):
        while not (await execute(session, text("SELECT count(*) FROM pg_locks WHERE NOT granted"))).scalar_one():
            await asyncio.sleep(0.01)
