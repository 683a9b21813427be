"""`steno backup`: everything that is kept, of one instant, while the mesh runs."""

import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from services.stack.backup import postgres
from services.stack.backup.cut import Cut, cut_at_once
from services.stack.backup.installation import Installation, objects_of
from services.stack.backup.manifest import Manifest, describe, write_manifest

ARCHIVE = ".tar"
_OBJECTS = "SELECT object_key, size_bytes FROM {} WHERE state = 'ready' AND object_key IS NOT NULL"
_READY = " UNION ALL ".join(_OBJECTS.format(table) for table in ("media", "artefact"))
Say = Callable[[str], None]


def write_backup(installation: Installation, target: Path, *, with_keys: bool, say: Say) -> Manifest:
    """A folder, or an archive where the name ends with .tar; neither may exist. Raises OSError, sqlite3.Error, CommandFailed."""
    with _folder_for(target) as folder:
        return _fill(installation, folder, with_keys=with_keys, say=say)


@contextmanager
def _folder_for(target: Path) -> Iterator[Path]:
    """A new folder; it takes its name, or becomes its archive, when all of it is there."""
    if target.exists():
        raise FileExistsError(f"{target} exists: a backup is never written over another")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield folder
        if target.suffix == ARCHIVE:
            partial = folder.with_suffix(ARCHIVE)
            with tarfile.open(partial, "w") as archive:
                archive.add(folder, ".")
            partial.chmod(0o600)
            partial.replace(target)
        else:
            folder.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fill(installation: Installation, folder: Path, *, with_keys: bool, say: Say) -> Manifest:
    for name in ("databases", "blobs"):
        (folder / name).mkdir()
    revisions = {service: postgres.revision(url, service) for service, url in installation.servers.items()}
    objects: bytes | None = None
    # Postgres first: whatever a job of it names is then among the blobs.
    for url, services in postgres.groups(installation.servers).items():
        say(f"dumping {', '.join(services)}")
        postgres.dump(url, services, folder / "databases" / f"{'-'.join(services)}.dump")
    if "storage" in installation.servers:
        objects = objects_of(postgres.rows(installation.servers["storage"], "storage", _READY))
    with cut_at_once(installation.files, installation.blobs) as cut:
        say("copying databases and blobs")
        revisions |= {service: _copy_database(cut, service, folder) for service in cut.snapshots}
        if "storage" in cut.snapshots:
            objects = objects_of(cut.snapshots["storage"].execute(_READY).fetchall())
        if cut.blobs is not None:
            shutil.copytree(cut.blobs, folder / "blobs" / "objects")
    (folder / "objects.jsonl").write_bytes(objects or b"")
    if with_keys:
        _copy_keys(installation, folder / "keys")
    return _describe(installation, folder, revisions, with_keys=with_keys)


def _copy_database(cut: Cut, service: str, folder: Path) -> str:
    """Into the folder; its revision."""
    target = folder / "databases" / f"{service}.db"
    with closing(sqlite3.connect(target)) as copy:
        cut.snapshots[service].backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        [found] = copy.execute("SELECT version_num FROM alembic_version").fetchone()
    target.chmod(0o600)
    return str(found)


def _copy_keys(installation: Installation, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    for name, path in installation.keys.items():
        shutil.copyfile(path, folder / name)
        (folder / name).chmod(0o600)


def _describe(installation: Installation, folder: Path, revisions: Mapping[str, str], *, with_keys: bool) -> Manifest:
    manifest = Manifest(
        version=version("steno"),
        create_time=datetime.now(UTC).isoformat(timespec="seconds"),
        revisions=revisions,
        databases={service: "sqlite" if service in installation.files else "postgresql" for service in installation.urls},
        bucket=installation.bucket,
        has_keys=with_keys,
        models=installation.models,
        files={str(path.relative_to(folder)): describe(path) for path in sorted(folder.rglob("*")) if path.is_file()},
    )
    write_manifest(folder, manifest)
    return manifest


@contextmanager
def opened(source: Path) -> Iterator[Path]:
    """The folder of a backup, unpacked beside its archive where it is one. Raises OSError and tarfile.TarError."""
    if source.is_dir():
        yield source
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f".{source.name}-", dir=source.parent)))
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="data")
        yield folder
