"""The role that containers of Postgres get when their data folder is made."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

import services
from services.mesh.database_durability import ask_database
from services.mesh.migrations import migrate
from tests.servers import postgres_server

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "postgres" / "role.sh"


@pytest.fixture(scope="module")
def made() -> Iterator[str]:
    """The URL, as the superuser, of a server of its own on which the script has run as the image's entrypoint runs it."""
    with postgres_server() as url:
        address = url.replace("+psycopg", "")
        with psycopg.connect(address, autocommit=True) as connection:
            # The tests' own; the image's server has none.
            connection.execute("DROP ROLE steno")
            connection.execute("ALTER ROLE postgres PASSWORD 'a word'")
            connection.execute("CREATE DATABASE steno")
        environment = {
            "PATH": os.pathsep.join([str(_programs()), os.environ["PATH"]]),
            "PGHOST": str(make_url(url).query["host"]),
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": "steno",
            "POSTGRES_PASSWORD": "it's 'quoted'",
        }
        subprocess.run(["sh", str(SCRIPT)], env=environment, check=True, timeout=60)
        yield address.replace("/postgres?", "/steno?")


def _programs() -> Path:
    found = shutil.which("psql")
    if found:
        return Path(found).parent
    import pgserver

    return Path(pgserver.__file__).parent / "pginstall" / "bin"


def test_the_role_has_the_password_and_the_superuser_none(made: str) -> None:
    with psycopg.connect(made) as connection:
        rows = connection.execute("SELECT rolname, rolpassword LIKE 'SCRAM-SHA-256%' FROM pg_authid WHERE rolcanlogin").fetchall()
    assert dict(rows) == {"postgres": None, "steno": True}


async def test_row_security_holds_the_role_which_may_migrate(made: str) -> None:
    url = made.replace("postgresql://postgres@", "postgresql+psycopg://steno@")
    scripts = Path(services.__file__).parent / "jobs" / "migrations"
    await migrate(url, schema="jobs", script_location=str(scripts))
    found = await ask_database("STENO_JOBS_DATABASE_URL", url, "jobs")
    assert "database_role" not in {weakness.risk for weakness in found}


def test_compose_runs_the_script() -> None:
    compose = (ROOT / "deploy" / "compose.yaml").read_text()
    assert "./postgres/role.sh:/docker-entrypoint-initdb.d/role.sh:ro" in compose
