"""`steno restore`: a backup into an installation that is stopped. The event store starts empty; jobs are handed out again by themselves."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from services.stack.backup import postgres
from services.stack.backup.installation import Installation, scripts_of
from services.stack.backup.manifest import BackupUnusable, Manifest, check_files
from services.stack.backup.writing import Say


def restore(installation: Installation, folder: Path, manifest: Manifest, *, force: bool, say: Say) -> None:
    """Raises BackupUnusable, DataDirectoryError, OSError, CommandFailed. What there was below the data directory is kept aside."""
    check_version(manifest)
    check_files(folder, manifest)
    _check_kinds(installation, manifest)
    taken = list(_taken(installation))
    if taken and not force:
        raise BackupUnusable(f"there is something already: {', '.join(taken)}; --force puts it aside, and drops the schemas of Postgres")
    with _stopped(installation):
        _set_aside(installation, say)
        for url, services in postgres.groups(installation.servers).items():
            say(f"loading {', '.join(services)}")
            postgres.load(url, services, folder / "databases" / f"{'-'.join(services)}.dump")
        for service, path in installation.files.items():
            _place(folder / "databases" / f"{service}.db", path)
        if installation.blobs is not None:
            say("copying blobs")
            _place_tree(folder / "blobs" / "objects", installation.blobs / "objects")
        if manifest.has_keys:
            _place_keys(folder / "keys", installation.data.root / "keys")


def check_version(manifest: Manifest) -> None:
    """Raises BackupUnusable when a newer version made it, or at a revision that this one does not have."""
    if _numbers(manifest.version) > _numbers(version("steno")):
        raise BackupUnusable(
            f"version {manifest.version} made this backup, and this is {version('steno')}: restore it with that or a newer one"
        )
    for service, revision in manifest.revisions.items():
        if revision and not any(path.name.startswith(f"{revision}_") for path in (scripts_of(service) / "versions").glob("*.py")):
            raise BackupUnusable(
                f"{service} was at revision {revision}, which this version does not have: restore it with the one that made it"
            )


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split(".")[:3] if part.isdigit())


def _check_kinds(installation: Installation, manifest: Manifest) -> None:
    here = {service: "sqlite" if service in installation.files else "postgresql" for service in installation.urls}
    if here != dict(manifest.databases):
        raise BackupUnusable(f"the backup holds {_told(manifest.databases)}, and this installation has {_told(here)}")
    if (installation.blobs is None) != bool(manifest.bucket):
        raise BackupUnusable(f"the backup's blobs are in {manifest.bucket or 'itself'}, and this installation has them elsewhere")


def _told(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{service} in {kind}" for service, kind in sorted(kinds.items()))


def _taken(installation: Installation) -> Iterator[str]:
    """What would be replaced."""
    yield from (str(path) for path in installation.files.values() if path.exists())
    yield from (f"schema {service}" for service, url in installation.servers.items() if postgres.tables(url, service))
    if installation.blobs is not None and any((installation.blobs / "objects").glob("*/*")):
        yield str(installation.blobs)


@contextmanager
def _stopped(installation: Installation) -> Iterator[None]:
    """Nobody runs from the data directory meanwhile; on several machines the operator sees to it. Raises DataDirectoryError."""
    with installation.data.locked():
        yield


def _set_aside(installation: Installation, say: Say) -> None:
    """Databases, blobs and the event store, into a folder of the data directory."""
    databases = [path.with_name(path.name + suffix) for path in installation.files.values() for suffix in ("", "-wal", "-shm")]
    blobs = [installation.blobs / "objects"] if installation.blobs is not None else []
    there = [path for path in (*databases, *blobs, installation.data.events) if path.exists()]
    if not there:
        return
    aside = installation.data.root / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    aside.mkdir(mode=0o700)
    for path in there:
        shutil.move(path, aside / path.name)
    say(f"what was there is in {aside}: delete it when all is well")


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.restored")
    shutil.copyfile(source, partial)
    partial.chmod(0o600)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)


def _place_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    os.sync()


def _place_keys(source: Path, target: Path) -> None:
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in source.iterdir():
        _place(path, target / path.name)
