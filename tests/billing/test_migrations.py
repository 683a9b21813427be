"""The migrations make what the tables say."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from services.billing.app import MIGRATIONS, SCHEMA
from services.billing.store.tables import metadata
from services.mesh.migrations import migrate


async def test_migrated_database_has_no_drift_from_the_tables(database_url: str) -> None:
    for _ in range(2):
        await migrate(database_url, schema=SCHEMA, script_location=str(MIGRATIONS))
    url = make_url(database_url)
    postgres = url.get_backend_name() == "postgresql"
    arguments = {"options": f"-c search_path={SCHEMA}"} if postgres else {}
    engine = create_engine(url if postgres else url.set(drivername="sqlite"), connect_args=arguments)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()
