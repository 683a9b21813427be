"""Migrations: to the newest revision, once, whoever runs them and however often."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from services.mesh.database import open_database
from services.mesh.errors import ServiceUnavailable
from services.mesh.migrations import UnfitSchema, migrate, prepare_schema, require_schema
from tests.proxies import postgres_proxy
from tests.servers import new_postgres_database

_ENV = """
from sqlalchemy import MetaData
from services.mesh.migrations import run_env
run_env(MetaData())
"""
_FIRST = """
import sqlalchemy as sa
from alembic import op
from services.mesh.inbox import inbox_table
from services.mesh.outbox import outbox_table

revision, down_revision = "0001", None

def upgrade():
    op.create_table("job", sa.Column("id", sa.Text, primary_key=True))
    outbox_table(sa.MetaData()).create(op.get_bind())
    inbox_table(sa.MetaData()).create(op.get_bind())
"""
_SECOND = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"

def upgrade():
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
"""
_BROKEN = """
from alembic import op

revision, down_revision = "0003", "0002"

def upgrade():
    op.execute("CREATE TABLE half (id INTEGER)")
    raise RuntimeError("broken migration")
"""
_STUCK = """
import time
from pathlib import Path
from alembic import op

revision, down_revision = "0003", "0002"

def upgrade():
    op.execute("CREATE TABLE half (id INTEGER)")
    Path(__file__).with_name("reached").touch()
    time.sleep(60)
"""
_MIGRATOR = """
import asyncio, sys
from services.mesh.migrations import migrate
asyncio.run(migrate(sys.argv[1], schema="jobs", script_location=sys.argv[2]))
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A service's migrations folder with two revisions."""
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(_ENV)
    (folder / "versions" / "0001_first.py").write_text(_FIRST)
    (folder / "versions" / "0002_second.py").write_text(_SECOND)
    return folder


@pytest.fixture
def older(scripts: Path, tmp_path: Path) -> Path:
    """The same folder as the version before has it."""
    folder = tmp_path / "older"
    shutil.copytree(scripts, folder)
    (folder / "versions" / "0002_second.py").unlink()
    return folder


async def run(url: str, scripts: Path) -> None:
    await migrate(url, schema="jobs", script_location=str(scripts))


def start(url: str, scripts: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", _MIGRATOR, url, str(scripts)], env=environment)


async def revision(url: str) -> str:
    async with open_database(url, schema="jobs") as database, database.reading() as session:
        connection = await session.connection()
        await connection.execute(text("SELECT priority FROM job"))
        await connection.execute(text("SELECT trace_parent FROM outbox"))
        return str((await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one())


async def exists(url: str, table: str) -> bool:
    tables = "SELECT name FROM sqlite_master" if url.startswith("sqlite") else "SELECT tablename FROM pg_tables WHERE schemaname = 'jobs'"
    async with open_database(url, schema="jobs") as database, database.reading() as session:
        return table in (await (await session.connection()).execute(text(tables))).scalars().all()


async def test_an_empty_database_gets_every_revision(database_url: str, scripts: Path) -> None:
    await run(database_url, scripts)
    assert await revision(database_url) == "0002"


async def test_migrating_again_changes_nothing(database_url: str, scripts: Path) -> None:
    await run(database_url, scripts)
    async with open_database(database_url, schema="jobs") as database, database.transaction() as session:
        await (await session.connection()).execute(text("INSERT INTO job (id) VALUES ('kept')"))
    await run(database_url, scripts)
    async with open_database(database_url, schema="jobs") as database, database.reading() as session:
        assert (await (await session.connection()).execute(text("SELECT id FROM job"))).scalars().all() == ["kept"]


async def test_a_database_that_is_up_to_date_costs_no_alembic(database_url: str, scripts: Path) -> None:
    command = [sys.executable, "-c", _MIGRATOR + "print('alembic' in sys.modules)", database_url, str(scripts)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    runs = [await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, timeout=60) for _ in range(2)]
    assert [run.stdout for run in runs] == [b"True\n", b"False\n"]


async def test_migrators_at_once_are_all_content(database_url: str, scripts: Path) -> None:
    await asyncio.gather(*(run(database_url, scripts) for _ in range(3)))
    assert await revision(database_url) == "0002"


async def test_migrating_processes_at_once_are_all_content(database_url: str, scripts: Path) -> None:
    processes = [start(database_url, scripts) for _ in range(2)]
    assert [await asyncio.to_thread(process.wait, 60) for process in processes] == [0, 0]
    assert await revision(database_url) == "0002"


async def test_a_failing_revision_leaves_the_one_before(database_url: str, scripts: Path) -> None:
    await run(database_url, scripts)
    (scripts / "versions" / "0003_broken.py").write_text(_BROKEN)
    with pytest.raises(RuntimeError, match="broken migration"):
        await run(database_url, scripts)
    assert await revision(database_url) == "0002"
    assert not await exists(database_url, "half")


async def test_a_killed_migrator_leaves_nothing_half_done(database_url: str, scripts: Path) -> None:
    await run(database_url, scripts)
    stuck = scripts / "versions" / "0003_stuck.py"
    stuck.write_text(_STUCK)
    process = start(database_url, scripts)
    async with asyncio.timeout(30):
        while not stuck.with_name("reached").exists():
            await asyncio.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.wait, 10)
    assert not await exists(database_url, "half")
    stuck.unlink()
    await run(database_url, scripts)
    assert await revision(database_url) == "0002"


async def test_an_older_version_uses_a_database_to_which_a_newer_one_only_added(database_url: str, scripts: Path, older: Path) -> None:
    await run(database_url, scripts)
    await run(database_url, older)
    await require_schema(database_url, schema="jobs", script_location=str(older))
    assert await revision(database_url) == "0002"


async def test_an_older_version_leaves_a_database_from_which_a_newer_one_took_something(
    database_url: str, scripts: Path, older: Path
) -> None:
    second = scripts / "versions" / "0002_second.py"
    second.write_text(second.read_text() + '\ncontract = True\ncontract_release = "0.1.0"\n')
    await run(database_url, scripts)
    for refused in (run(database_url, older), require_schema(database_url, schema="jobs", script_location=str(older))):
        with pytest.raises(UnfitSchema, match="at 0002, which needs code of 0002 or newer; this version knows up to 0001"):
            await refused


async def test_a_database_that_does_not_say_whom_it_bears_is_left_to_the_newer_version(
    database_url: str, scripts: Path, older: Path
) -> None:
    await run(database_url, scripts)
    async with open_database(database_url, schema="jobs") as database, database.transaction() as session:
        await (await session.connection()).execute(text("UPDATE alembic_version SET oldest_code = NULL"))
    with pytest.raises(UnfitSchema, match="does not say which older code it bears"):
        await run(database_url, older)


async def test_a_database_that_is_behind_is_only_looked_at_in_production(database_url: str, scripts: Path, older: Path) -> None:
    for migrated, found in ((None, "no revision"), (older, "0001")):
        if migrated is not None:
            await run(database_url, migrated)
        with pytest.raises(UnfitSchema, match=f"at {found}, this version needs 0002: run `steno migrate` first"):
            await prepare_schema(database_url, schema="jobs", script_location=str(scripts), profile="production")
    await prepare_schema(database_url, schema="jobs", script_location=str(scripts), profile="embedded")
    await prepare_schema(database_url, schema="jobs", script_location=str(scripts), profile="production")
    assert await revision(database_url) == "0002"


@pytest.mark.parametrize("profile", ["embedded", "production"])
async def test_a_database_that_is_not_up_yet_is_waited_for(postgres_url: str, scripts: Path, profile: str) -> None:
    database_url = new_postgres_database(postgres_url)
    await run(database_url, scripts)
    async with postgres_proxy(database_url) as (proxy, url):
        proxy.close()
        waiting = asyncio.create_task(prepare_schema(url, schema="jobs", script_location=str(scripts), profile=profile))
        done, _ = await asyncio.wait([waiting], timeout=0.5)
        assert not done
        await proxy.open()
        await asyncio.wait_for(waiting, 60)


async def test_a_database_that_stays_away_ends_a_service_of_the_embedded_profile(postgres_url: str, scripts: Path) -> None:
    async with postgres_proxy(new_postgres_database(postgres_url)) as (proxy, url):
        proxy.close()
        with pytest.raises(ServiceUnavailable):
            await prepare_schema(url, schema="jobs", script_location=str(scripts), profile="embedded", patience_seconds=0.2)
