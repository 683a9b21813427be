"""The migrations make exactly the tables that the code uses."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, make_url

from services.mesh.migrations import migrate
from services.storage.app import MIGRATIONS, SCHEMA
from services.storage.store.tables import METADATA
from tests.servers import new_postgres_database


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_migrated_database_has_the_tables_of_the_code(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/storage.db"
    arguments = {}
    if backend == "postgresql":
        url, arguments = new_postgres_database(request.getfixturevalue("postgres_url")), {"options": f"-c search_path={SCHEMA}"}
    await migrate(url, schema=SCHEMA, script_location=str(MIGRATIONS))
    await migrate(url, schema=SCHEMA, script_location=str(MIGRATIONS))
    engine = create_engine(make_url(url.replace("+aiosqlite", "")), connect_args=arguments)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()
