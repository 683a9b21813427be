"""The commands `steno backup`, `steno backup verify` and `steno restore`."""

import asyncio
import json
import sqlite3
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.client.failures import CommandFailed
from services.stack.backup.installation import Installation, find_installation
from services.stack.backup.manifest import BackupUnusable, Manifest, check_files, read_manifest
from services.stack.backup.restoring import restore
from services.stack.backup.writing import opened, write_backup
from services.stack.data_directory import DataDirectoryError

_KEYLESS = (
    "The keys are not in it: keep the folder `keys` elsewhere. Without the pepper no API key works, without the identity key no service"
    " trusts another."
)
_KEYED = "The keys are in it: whoever has it can act as every workspace. Keep it where you keep secrets."
_SHOWN = 5


def run_backup(root: Path, out: Path, *, with_keys: bool) -> None:
    """Write a backup and say what is in it. Raises CommandFailed."""
    with _explained("No backup was written"):
        installation = find_installation(root)
        manifest = write_backup(installation, out, with_keys=with_keys, say=_say)
    _say(_KEYED if with_keys else _KEYLESS)
    if manifest.bucket:
        _say(f"Blobs stay in {manifest.bucket}: its own versioning keeps them; `steno backup verify --bucket` compares.")
    print(f"{out}: {_summary(manifest)}")


def run_restore(root: Path, source: Path, *, force: bool) -> None:
    """Put a backup in place. Raises CommandFailed."""
    with _explained("Nothing was restored, or not all"), opened(source) as folder:
        manifest = read_manifest(folder)
        restore(find_installation(root), folder, manifest, force=force, say=_say)
    if not manifest.has_keys:
        _say("Keys were not in the backup: those of the installation go on. Put the old ones in their place, or no API key works.")
    if manifest.models:
        _say(f"Models are not in a backup. Install again: {', '.join(manifest.models)}")
    print(f"{source} restored: {_summary(manifest)}; start with `steno up`, or `steno migrate` and the services")


def run_verify(root: Path, source: Path, *, bucket: bool) -> None:
    """Check every file of a backup, and whether the bucket has what its rows name. Raises CommandFailed."""
    with _explained("The backup is not good"), opened(source) as folder:
        manifest = read_manifest(folder)
        check_files(folder, manifest)
        if bucket:
            _check_bucket(find_installation(root), folder)
    print(f"{source} is whole: {_summary(manifest)}")


def _check_bucket(installation: Installation, folder: Path) -> None:
    if installation.blobs is not None:
        raise BackupUnusable("storage keeps its blobs in a directory here: set STENO_STORAGE_BLOB_STORE and its bucket")
    from services.storage.app import open_s3

    blobs = open_s3(installation.storage)

    async def keys() -> set[str]:
        return {entry.key async for batch in blobs.entries() for entry in batch}

    there = asyncio.run(keys())
    named = [json.loads(line)["key"] for line in (folder / "objects.jsonl").read_bytes().splitlines()]
    missing = [key for key in named if key not in there]
    if missing:
        raise BackupUnusable(f"{len(missing)} of {len(named)} blobs are not in the bucket: {', '.join(missing[:_SHOWN])}")


def _summary(manifest: Manifest) -> str:
    size = sum(size for size, _ in manifest.files.values())
    blobs = sum(path.startswith("blobs/") for path in manifest.files)
    revisions = ", ".join(f"{service} at {revision}" for service, revision in sorted(manifest.revisions.items()))
    return f"version {manifest.version}, {manifest.create_time}, {revisions}, {blobs} blobs, {size / 1e6:.1f} MB"


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except (BackupUnusable, DataDirectoryError, OSError, sqlite3.Error, tarfile.TarError) as error:
        raise CommandFailed(f"{what}: {error}") from error


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
