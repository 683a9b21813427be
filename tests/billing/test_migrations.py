"""The migrations make what the tables say."""

from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, bindparam, create_engine, text
from sqlalchemy.engine import make_url

from services.billing.app import MIGRATIONS, SCHEMA
from services.billing.store.tables import metadata
from services.billing.usecases import ledger
from services.mesh.columns import UtcDateTime
from services.mesh.ids import new_id
from services.mesh.migrations import migrate
from tests.billing.stage import MINUTE_MS, Clock, open_stage


async def test_migrated_database_has_no_drift_from_the_tables(database_url: str) -> None:
    for _ in range(2):
        await migrate(database_url, schema=SCHEMA, script_location=str(MIGRATIONS))
    engine = _engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def _engine(database_url: str) -> Engine:
    url = make_url(database_url)
    postgres = url.get_backend_name() == "postgresql"
    arguments = {"options": f"-c search_path={SCHEMA}"} if postgres else {}
    return create_engine(url if postgres else url.set(drivername="sqlite"), connect_args=arguments)


def _downgrade(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


async def test_a_ledger_from_before_wallets_goes_on_after_the_upgrade(database_url: str, tmp_path: Path) -> None:
    clock, job_id, other_id = Clock(datetime(2026, 3, 15, tzinfo=UTC)), new_id(), new_id()
    async with open_stage(database_url, tmp_path, clock) as stage:
        workspace_id = (await stage.workspace()).id
        await ledger.reserve(stage.batches, workspace_id, job_id, 10 * MINUTE_MS)
    engine = _engine(database_url)
    _downgrade(engine, "0001")
    with engine.begin() as connection:
        names = "name, plan, create_time, period, used_before_ms, granted_before_ms"
        copied = text(f"INSERT INTO workspace (id, {names}) SELECT :id, {names} FROM workspace WHERE create_time <= :now")  # noqa: S608
        connection.execute(copied.bindparams(bindparam("now", type_=UtcDateTime())), {"id": other_id, "now": clock.now})
    engine.dispose()
    async with open_stage(database_url, tmp_path, clock) as stage:
        assert (await ledger.settle(stage.batches, job_id, 4 * MINUTE_MS, workspace_id)).settled_ms == 4 * MINUTE_MS
        usage = await ledger.get_usage(stage.billing, workspace_id)
        assert (usage.included_ms, usage.used_ms, usage.upload_count) == (100 * MINUTE_MS, 4 * MINUTE_MS, 0)
        assert await stage.rows("SELECT parent_id, email, guest_digest FROM workspace") == [(None, None, None)] * 2
