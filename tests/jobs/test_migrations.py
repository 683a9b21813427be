"""What an older version stored, brought to the newest schema and back."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Boolean, Column, Connection, MetaData, String, Table, delete, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.app import MIGRATIONS, SCHEMA
from services.jobs.store.announcements import announce_artefact
from services.jobs.store.detectors import insert_detector
from services.jobs.store.jobs import JOB, insert_job, insert_jobs
from services.jobs.store.keys import KEY
from services.jobs.store.listing import TALLY
from services.jobs.store.removals import REMOVAL
from services.mesh.database import Database, open_database
from services.mesh.ids import new_id
from services.mesh.migrations import migrate, prepare_schema
from steno.jobs.v1.detector_pb2 import Detector
from tests.jobs.test_store import ORDER, PATHS, job_in, refused, run

_ORDERED = {"wallet_id", "title", "url", "claim_digest", "waiting", "retention_days"}
NEW = _ORDERED | {"audio_expire_time", "removal_time", "kind", "trace_parent"}
OLD_JOB = Table("job", MetaData(), *(Column(column.name, column.type) for column in JOB.columns if column.name not in NEW))
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


def plain(column: Column[Any]) -> object:
    """An empty value of the column's type."""
    if isinstance(column.type, String | Boolean):
        return "" if isinstance(column.type, String) else False
    return b"" if column.name == "config" else 0


async def old_job(database: Database, steps: Sequence[int]) -> str:
    """A job as the first revision stores it, brought along these states."""
    job_id = new_id()
    filled = {column.name: plain(column) for column in OLD_JOB.columns if not JOB.c[column.name].nullable}
    filled |= {"id": job_id, "media_id": job_id, "workspace_id": "ws", "owner": "workspace", "state": 1}
    await run(database, insert(OLD_JOB).values(filled | {"create_time": MOMENT, "due_time": MOMENT}))
    for step in steps:
        ended = {"complete_time": MOMENT} if step > 2 else {}
        await run(database, update(OLD_JOB).where(OLD_JOB.c.id == job_id).values(state=step, **ended))
    return job_id


async def old_key(database: Database, job_id: str) -> None:
    """An idempotency key as the first revision stores it."""
    columns = ("workspace_id", "key_id", "key", "fingerprint", "job_id", "create_time")
    old = Table("idempotency", MetaData(), *(Column(name, KEY.c[name].type) for name in columns))
    values = {"workspace_id": "ws", "key_id": "k", "key": job_id, "fingerprint": "", "job_id": job_id, "create_time": MOMENT}
    await run(database, insert(old).values(values))


async def move(database_url: str, revision: str) -> None:
    """Brings the database to a revision, up when it is new and else down, as Alembic's commands do."""

    def moved(connection: Connection) -> None:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        config = Config()
        config.set_main_option("script_location", MIGRATIONS)
        config.attributes["connection"] = connection
        is_new = MigrationContext.configure(connection).get_current_revision() is None
        (command.upgrade if is_new else command.downgrade)(config, revision)

    async with open_database(database_url, schema=SCHEMA) as database, database.transaction() as session:
        await (await session.connection()).run_sync(moved)


async def tallies(database: Database) -> dict[int, int]:
    """How many jobs the tally says there are in each state."""
    sums = select(TALLY.c.state, func.sum(TALLY.c.delta).label("total")).group_by(TALLY.c.state)
    return {row.state: int(row.total) for row in await database.read_all(sums) if row.total}


async def test_old_jobs_keep_their_audio_for_a_year_from_their_end(database_url: str) -> None:
    await move(database_url, "0001")
    async with open_database(database_url, schema=SCHEMA) as database:
        ids = {state: await old_job(database, steps) for state, steps in PATHS.items()}
        for state in (1, 3):
            await old_key(database, ids[state])
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database:
        rows = {row.state: row for row in await database.read_all(select(JOB).order_by(JOB.c.state))}
        expected = dict.fromkeys((1, 2)) | dict.fromkeys((3, 4, 5), MOMENT + YEAR)
        assert {state: row.audio_expire_time for state, row in rows.items()} == expected
        assert [state for state, row in rows.items() if row.removal_time is not None] == [3, 4], "of the others it was ordered to go"
        assert {row.retention_days for row in rows.values()} == {365}
        expiries = {row.job_id: row.expire_time for row in await database.read_all(select(KEY))}
        assert expiries == {ids[1]: None, ids[3]: MOMENT + YEAR}
        assert await tallies(database) == dict.fromkeys(PATHS, 1)


async def test_going_back_cancels_what_the_version_before_would_work_on_without_media(database_url: str) -> None:
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    waiting, queued = new_id(), new_id()
    async with open_database(database_url, schema=SCHEMA) as database, database.transaction() as session:
        rows = [{**ORDER, "id": job_id, "media_id": job_id, "waiting": kind} for job_id, kind in ((waiting, 2), (queued, 0))]
        await insert_jobs(session, rows)
    await move(database_url, "0001")
    async with open_database(database_url, schema=SCHEMA) as database:
        states = {row.id: row.state for row in await database.read_all(select(OLD_JOB.c.id, OLD_JOB.c.state))}
        assert states == {waiting: 5, queued: 1}
        assert await tallies(database) == {1: 1, 5: 1}
        await refused(database, queued, state=4)
        ended = await old_job(database, PATHS[3])
        await refused(database, ended, owner="user:a")
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)


async def test_going_back_takes_along_what_is_no_transcription(database_url: str) -> None:
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database:
        kept = await job_in(database, 1)
        file = await kind_in(database, 2, media_id="of-file")
        training = await kind_in(database, 1, media_id="")
        await kind_in(database, 1, media_id="")
        await refused(database, file, kind=0)
        assert await tallies(database) == {1: 1}, "tallies count transcriptions only"
        async with database.transaction() as session:
            await announce_artefact(session, training, "checkpoint")
            await insert_detector(session, "workspace", Detector(id="d", workspace_id="ws", name="n", artefact_id="onnx"))
    await move(database_url, "0003")
    async with open_database(database_url, schema=SCHEMA) as database:
        assert [row.id for row in await database.read_all(select(OLD_JOB.c.id))] == [kept]
        removals = {(row.kind, row.resource_id) for row in await database.read_all(select(REMOVAL.c.kind, REMOVAL.c.resource_id))}
        assert removals == {("media", "of-file"), ("artefact", "checkpoint"), ("artefact", "onnx")}
        with pytest.raises(DBAPIError):
            await run(database, delete(OLD_JOB).where(OLD_JOB.c.id == kept))
        await run(database, update(OLD_JOB).where(OLD_JOB.c.id == kept).values(state=2))
        assert await tallies(database) == {2: 1}
    await migrate(database_url, schema=SCHEMA, script_location=MIGRATIONS)
    async with open_database(database_url, schema=SCHEMA) as database:
        assert [row.kind for row in await database.read_all(select(JOB.c.kind))] == [0]


async def kind_in(database: Database, kind: int, media_id: str) -> str:
    """A queued job of that kind."""
    async with database.transaction() as session:
        return await add_kind(session, kind, media_id)


async def add_kind(session: AsyncSession, kind: int, media_id: str, **others: object) -> str:
    """The same in the caller's transaction."""
    values = {name: value for name, value in ORDER.items() if name != "claim_digest"} | others
    return str((await insert_job(session, id=new_id(), kind=kind, media_id=media_id, **values)).id)


NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "9999", "{head}"

def upgrade():
    op.add_column("job", sa.Column("mood", sa.String(), nullable=False, server_default="calm"))
    op.create_table("mood", sa.Column("id", sa.String(), primary_key=True))
"""


async def test_this_version_works_beside_the_next_on_a_database_that_it_migrated(database_url: str, tmp_path: Path) -> None:
    newer = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, newer)
    head = max(path.name for path in (newer / "versions").glob("0*.py"))[:4]
    (newer / "versions" / "9999_next.py").write_text(NEXT.format(head=head))
    await migrate(database_url, schema=SCHEMA, script_location=str(newer))
    for profile in ("embedded", "production"):
        await prepare_schema(database_url, schema=SCHEMA, script_location=MIGRATIONS, profile=profile)
    async with open_database(database_url, schema=SCHEMA) as database:
        ids = {state: await job_in(database, state) for state in PATHS}
        rows = {row.id: row.state for row in await database.read_all(select(JOB))}
        assert rows == {job_id: state for state, job_id in ids.items()}
        assert await tallies(database) == dict.fromkeys(PATHS, 1)
