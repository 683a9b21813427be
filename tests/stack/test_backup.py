"""A backup holds one instant of everything; restored, it is there again, or nothing was touched and the reason is told."""

import asyncio
import hashlib
import json
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from services.cli import main
from services.mesh.migrations import migrate
from services.mesh.row_security import FOR_EVERY
from services.stack.backup.cut import cut_at_once
from services.stack.backup.installation import scripts_of
from services.stack.data_directory import DataDirectory
from tests.servers import new_postgres_database

SERVICES = ("billing", "storage", "jobs")
Steno = Callable[..., str]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three empty databases."""
    data = DataDirectory(tmp_path_factory.mktemp("migrated"))
    for service in SERVICES:
        asyncio.run(migrate(data.database_url(service), schema=service, script_location=str(scripts_of(service))))
    return data.root / "databases"


@pytest.fixture
def data(migrated: Path, tmp_path: Path) -> DataDirectory:
    """The directory of an installation with three databases and two blobs, of which storage knows one."""
    found = DataDirectory(tmp_path / "data")
    found.prepare(0)
    shutil.copytree(migrated, found.root / "databases", dirs_exist_ok=True)
    for key in ("aa" * 16, "bb" * 16):
        _blob(found, key).parent.mkdir(parents=True)
        _blob(found, key).write_bytes(key.encode())
    with closing(sqlite3.connect(_file(found, "storage"))) as connection:
        _insert_artefact(connection.execute, "aa" * 16, "?")
        connection.commit()
    return found


@pytest.fixture
def steno(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Steno:
    """Runs a command; what it prints, or with fails=True what it says on its way out."""

    def run(*arguments: object, fails: bool = False) -> str:
        monkeypatch.setattr(sys, "argv", ["steno", *map(str, arguments)])
        status: object = 0
        try:
            main()
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        assert bool(status) is fails, captured
        return captured.err if fails else captured.out + captured.err

    return run


def _file(data: DataDirectory, service: str) -> Path:
    return data.root / "databases" / f"{service}.db"


def _blob(data: DataDirectory, key: str) -> Path:
    return data.blobs / "objects" / key[:2] / key


def _insert_artefact(execute: Callable[..., Any], key: str, mark: str) -> None:
    moment = 1 if mark == "?" else "2026-01-01T00:00:00Z"
    columns = "id, workspace_id, state, object_key, size_bytes, sha256, media_type, create_time, change_time"
    values = (key, "w", "ready", key, len(key), hashlib.sha256(key.encode()).hexdigest(), "text/plain", moment, moment)
    execute(f"INSERT INTO artefact ({columns}) VALUES ({', '.join([mark] * len(values))})", values)  # noqa: S608 (our own names)


def _artefacts(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [key for (key,) in connection.execute("SELECT object_key FROM artefact")]


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_what_was_backed_up_is_there_again(data: DataDirectory, steno: Steno, tmp_path: Path, name: str) -> None:
    assert "The keys are not in it" in steno("backup", "--data", data.root, "--out", tmp_path / name)
    before = {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file() and "blobs" in path.parts}
    assert "whole" in steno("backup", "verify", tmp_path / name)
    for folder in ("databases", "blobs"):
        shutil.rmtree(data.root / folder)
    (data.events / "jetstream").mkdir()
    assert "Keys were not in the backup" in steno("restore", tmp_path / name, "--data", data.root)
    assert _artefacts(_file(data, "storage")) == ["aa" * 16]
    assert {path: path.read_bytes() for path in before} == before
    assert not (data.events / "jetstream").exists(), "the event store starts empty"


def test_keys_are_backed_up_only_when_asked_for(data: DataDirectory, steno: Steno, tmp_path: Path) -> None:
    steno("backup", "--data", data.root, "--out", tmp_path / "without")
    assert "whoever has it can act as every workspace" in steno("backup", "--with-keys", "--data", data.root, "--out", tmp_path / "with")
    pepper = data.pepper.read_bytes()
    holders = [path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*") if path.is_file() and pepper in path.read_bytes()]
    assert sorted(holders) == ["data", "with"]
    steno("restore", tmp_path / "with", "--data", tmp_path / "other")
    assert DataDirectory(tmp_path / "other").pepper.read_bytes() == pepper


def test_restoring_over_something_needs_force_and_keeps_it_aside(data: DataDirectory, steno: Steno, tmp_path: Path) -> None:
    steno("backup", "--data", data.root, "--out", tmp_path / "backup")
    with closing(sqlite3.connect(_file(data, "storage"))) as connection:
        _insert_artefact(connection.execute, "bb" * 16, "?")
        connection.commit()
    assert "--force" in steno("restore", tmp_path / "backup", "--data", data.root, fails=True)
    assert len(_artefacts(_file(data, "storage"))) == 2
    steno("restore", "--force", tmp_path / "backup", "--data", data.root)
    assert _artefacts(_file(data, "storage")) == ["aa" * 16]
    [aside] = data.root.glob("replaced-*")
    assert len(_artefacts(aside / "storage.db")) == 2


def test_a_running_mesh_is_not_restored_over(data: DataDirectory, steno: Steno, tmp_path: Path) -> None:
    steno("backup", "--data", data.root, "--out", tmp_path / "backup")
    with data.locked():
        assert "another `steno up` uses" in steno("restore", "--force", tmp_path / "backup", "--data", data.root, fails=True)
    assert not list(data.root.glob("replaced-*"))


@pytest.mark.parametrize("harm", ["changed", "missing", "manifest", "newer", "unknown"])
def test_a_backup_that_is_not_whole_or_of_a_newer_version_is_refused(harm: str, data: DataDirectory, steno: Steno, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    steno("backup", "--data", data.root, "--out", backup)
    told = _harm(backup, harm)
    assert told in steno("restore", backup, "--data", tmp_path / "other", fails=True)
    assert not (tmp_path / "other" / "databases").exists()


def _harm(backup: Path, harm: str) -> str:
    """Does it; what is then said."""
    blob = backup / "blobs" / "objects" / "aa" / ("aa" * 16)
    if harm == "changed":
        blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    elif harm == "missing":
        blob.unlink()
    if harm in ("changed", "missing"):
        return "1 of 6 files are missing or damaged"
    content = json.loads((backup / "manifest.json").read_text())
    if harm != "manifest":
        content = {**content, "version": "99.0.0"} if harm == "newer" else {**content, "revisions": {"jobs": "9999"}}
        unsigned = json.dumps({**content, "digest": ""}, sort_keys=True)
        content["digest"] = hashlib.sha256(unsigned.encode()).hexdigest()
    else:
        content["models"] = ["another"]
    (backup / "manifest.json").write_text(json.dumps(content))
    return {"manifest": "was changed", "newer": "version 99.0.0 made this backup", "unknown": "at revision 9999"}[harm]


def test_a_backup_is_never_written_over_another(data: DataDirectory, steno: Steno, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    assert "exists" in steno("backup", "--data", data.root, "--out", tmp_path / "backup", fails=True)
    assert "There" not in steno("backup", "--data", tmp_path / "nothing", "--out", tmp_path / "other", fails=True)
    assert not (tmp_path / "other").exists()


def test_the_cut_is_one_instant_of_databases_and_blobs(tmp_path: Path) -> None:
    blobs, files = tmp_path / "blobs", {name: tmp_path / f"{name}.db" for name in ("storage", "jobs")}
    (blobs / "objects" / "00").mkdir(parents=True)
    for path in files.values():
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE row (key TEXT)")
    for _ in range(20):
        with _coming_and_going(files, blobs), cut_at_once(files, blobs) as cut:
            assert cut.blobs is not None
            stored, jobs = (_keys(cut.snapshots[name]) for name in ("storage", "jobs"))
            kept = {path.name for path in cut.blobs.glob("*/*")}
        assert jobs <= stored <= kept, (jobs - stored, stored - kept)
        assert not list(blobs.glob("backup-*")), "nothing is left behind"


def _keys(connection: sqlite3.Connection) -> set[str]:
    return {key for (key,) in connection.execute("SELECT key FROM row")}


@contextmanager
def _coming_and_going(files: dict[str, Path], blobs: Path) -> Iterator[None]:
    """Blobs with their rows and the jobs that name them: made in this order, removed in the other, all the time."""
    over, begun = threading.Event(), threading.Event()

    def work() -> None:
        number = 0
        with closing(sqlite3.connect(files["storage"], timeout=30)) as storage, closing(sqlite3.connect(files["jobs"], timeout=30)) as jobs:
            while not over.is_set():
                key, number = str(number), number + 1
                (blobs / "objects" / "00" / key).write_bytes(b"")
                for connection in (storage, jobs):
                    connection.execute("INSERT INTO row VALUES (?)", [key])
                    connection.commit()
                begun.set()
                for connection in (jobs, storage):
                    connection.execute("DELETE FROM row WHERE key = ?", [key])
                    connection.commit()
                (blobs / "objects" / "00" / key).unlink()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert begun.wait(30)
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def postgres(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installation on Postgres and a bucket; its database."""
    url = new_postgres_database(postgres_url)
    _use(monkeypatch, url)
    monkeypatch.setenv("STENO_STORAGE_BLOB_STORE", "s3")
    monkeypatch.setenv("STENO_STORAGE_S3_BUCKET", "steno")
    for service in SERVICES:
        asyncio.run(migrate(url, schema=service, script_location=str(scripts_of(service))))
    with psycopg.connect(url.replace("+psycopg", ""), options=f"-c search_path=storage {FOR_EVERY}") as connection:
        _insert_artefact(connection.execute, "aa" * 16, "%s")
    return url


def _use(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for service in SERVICES:
        monkeypatch.setenv(f"STENO_{service.upper()}_DATABASE_URL", url)


def _client_programs() -> str:
    import pgserver

    return str(Path(pgserver.__file__).parent / "pginstall" / "bin")


def test_schemas_of_postgres_are_there_again(
    postgres: str, postgres_url: str, steno: Steno, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", _client_programs() + os.pathsep + os.environ["PATH"])
    told = steno("backup", "--data", tmp_path / "data", "--out", tmp_path / "backup")
    assert "Blobs stay in s3://steno/" in told
    assert json.loads((tmp_path / "backup" / "objects.jsonl").read_text()) == {"key": "aa" * 16, "size_bytes": 32}
    assert "schema jobs" in steno("restore", tmp_path / "backup", "--data", tmp_path / "data", fails=True)
    for url, options in ((new_postgres_database(postgres_url), ()), (postgres, ("--force",))):
        _use(monkeypatch, url)
        steno("restore", *options, tmp_path / "backup", "--data", tmp_path / "data")
        with psycopg.connect(url.replace("+psycopg", ""), options=f"-c search_path=storage {FOR_EVERY}") as connection:
            assert connection.execute("SELECT object_key FROM artefact").fetchall() == [("aa" * 16,)]
    assert "is at" in steno("migrate"), "nothing is left to migrate"


@pytest.mark.usefixtures("postgres")
def test_without_pg_dump_it_is_said_what_is_missing(steno: Steno, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "pg_dump is not on the PATH" in steno("backup", "--data", tmp_path / "data", "--out", tmp_path / "backup", fails=True)
    assert not (tmp_path / "backup").exists()
