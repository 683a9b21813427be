"""`steno migrate` brings every service's database to its newest schema."""

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli import main

SERVICES = ("billing", "storage", "jobs")
Migrate = Callable[..., str]


@pytest.fixture
def migrate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Migrate:
    """Runs `steno migrate` on databases in a folder of the test's own; returns what it prints."""
    for service in SERVICES:
        monkeypatch.setenv(f"STENO_{service.upper()}_DATABASE_URL", f"sqlite+aiosqlite:///{tmp_path / service}.db")

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["steno", "migrate", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def _tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()


def test_new_databases_are_made_and_then_left_alone(migrate: Migrate, tmp_path: Path) -> None:
    first, second = migrate().splitlines(), migrate().splitlines()
    assert [line.split(":")[0] for line in first] == list(SERVICES)
    assert all(" made, at " in line for line in first)
    assert all(line.endswith(" already") for line in second)
    assert all({"alembic_version", "outbox"} & _tables(tmp_path / f"{service}.db") for service in SERVICES)


def test_only_the_named_service_is_migrated(migrate: Migrate, tmp_path: Path) -> None:
    assert migrate("--service", "jobs").startswith("jobs: ")
    assert [path.name for path in tmp_path.glob("*.db")] == ["jobs.db"]


@pytest.mark.usefixtures("migrate")
def test_database_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "billing.db").write_bytes(b"no database at all" * 100)
    monkeypatch.setattr(sys, "argv", ["steno", "migrate", "--service", "billing"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert "billing.db was not migrated" in capsys.readouterr().err
