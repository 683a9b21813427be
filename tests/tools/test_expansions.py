"""A new revision of a schema only adds, unless it says that it takes something away and since which release nobody needs that."""

import ast
import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, make_url, text

import services
from tools.expansions import narrowings, read_shape

# Of the first release: no version ran beside those before them.
FIRST_RELEASE = {"billing": "0004", "storage": "0003", "jobs": "0004"}
SERVICES = sorted(FIRST_RELEASE)


def migrations(service: str) -> Path:
    return Path(services.__file__).parent / service / "migrations"


def contract_release(script: Path) -> str | None:
    """The release that a script names, when it says that it takes something away."""
    assigned = {
        target.id: ast.literal_eval(node.value)
        for node in ast.parse(script.read_text()).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in ("contract", "contract_release")
    }
    return str(assigned["contract_release"]) if assigned.get("contract") else None


@contextmanager
def connected(url: str, schema: str) -> Iterator[Connection]:
    """In the schema of an empty database."""
    postgres = url.startswith("postgresql")
    arguments = {"options": f"-c search_path={schema}"} if postgres else {}
    engine = create_engine(make_url(url.replace("+aiosqlite", "")), connect_args=arguments)
    with engine.connect() as connection:
        if postgres:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        yield connection
    engine.dispose()


def script_config(service: str, connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations(service)))
    config.attributes["connection"] = connection
    return config


@pytest.mark.parametrize("service", SERVICES)
def test_a_revision_only_adds_unless_it_says_otherwise(service: str, database_url: str) -> None:
    found: dict[str, list[str]] = {}
    with connected(database_url, service) as connection:
        config = script_config(service, connection)
        command.upgrade(config, FIRST_RELEASE[service])
        later = list(ScriptDirectory.from_config(config).iterate_revisions("head", FIRST_RELEASE[service]))
        for script in reversed(later):
            before = read_shape(connection)
            command.upgrade(config, script.revision)
            if contract_release(Path(str(script.path))) is None:
                found[script.revision] = list(narrowings(before, read_shape(connection)))
    assert found == {revision: [] for revision in found}


@pytest.mark.parametrize("service", SERVICES)
def test_what_takes_something_away_waits_for_the_release_that_it_names(service: str) -> None:
    running = _numbers(importlib.metadata.version("steno"))
    named = {path.name: contract_release(path) for path in (migrations(service) / "versions").glob("*.py")}
    assert [name for name, release in named.items() if release is not None and _numbers(release) > running] == []


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3])


BEFORE = "CREATE TABLE job (id TEXT PRIMARY KEY, state INTEGER NOT NULL, title TEXT, x INTEGER); CREATE TABLE key (id TEXT PRIMARY KEY)"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE job ADD COLUMN note TEXT", []),
        ("ALTER TABLE job ADD COLUMN kind INTEGER NOT NULL DEFAULT 0", []),
        ("CREATE TABLE word (id TEXT PRIMARY KEY, job_id TEXT NOT NULL)", []),
        ("CREATE INDEX job_by_title ON job (title)", []),
        ("ALTER TABLE job DROP COLUMN title", ["job: column title is gone"]),
        ("ALTER TABLE job RENAME COLUMN title TO name", ["job: column title is gone"]),
        ("DROP TABLE key", ["table key is gone"]),
        ("ALTER TABLE key RENAME TO keys", ["table key is gone"]),
        ("CREATE UNIQUE INDEX job_title ON job (title)", ["job: rows must differ by title"]),
        ("CREATE UNIQUE INDEX job_title ON job (title) WHERE state = 1", ["job: rows must differ by title where state = 1"]),
        (
            "DROP TABLE job;"
            " CREATE TABLE job (id TEXT PRIMARY KEY, state TEXT NOT NULL, title TEXT NOT NULL, x INTEGER, kind TEXT NOT NULL)",
            [
                "job: column state was INTEGER and is TEXT",
                "job: new column kind must not be null and has no default",
                "job: column title must not be null any more",
            ],
        ),
        (
            "DROP TABLE job;"
            " CREATE TABLE job (id TEXT PRIMARY KEY REFERENCES key, state INTEGER NOT NULL CHECK (x > 1), title TEXT, x INTEGER)",
            ["job: rows are checked: x > 1", "job: id must refer to a row"],
        ),
    ],
)
def test_what_the_version_before_can_no_longer_do_is_told(change: str, told: list[str], tmp_path: Path) -> None:
    with connected(f"sqlite:///{tmp_path}/shape.db", "") as connection:
        _run(connection, BEFORE)
        before = read_shape(connection)
        _run(connection, change)
        assert list(narrowings(before, read_shape(connection))) == told


def _run(connection: Connection, statements: str) -> None:
    for statement in statements.split(";"):
        connection.execute(text(statement))
    connection.commit()
