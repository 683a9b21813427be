"""One instant of all SQLite databases and of the blobs: what a power cut would leave, and services recover from that."""

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

_BUSY_SECONDS = 30.0


@dataclass(frozen=True)
class Cut:
    """snapshots: connections that see the instant, by service. blobs: a folder with the blobs of the instant, None without a directory."""

    snapshots: Mapping[str, sqlite3.Connection]
    blobs: Path | None


@contextmanager
def cut_at_once(files: Mapping[str, Path], blobs: Path | None) -> Iterator[Cut]:
    """Hold every writer for a moment. Raises sqlite3.Error and OSError.

    Blobs never change, and each is there before its row says so and goes after its row does: those of the instant are linked while no
    row can change, and all that were there before have been linked already, so that the moment is short.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_link_folder(blobs)) if blobs is not None else None
        if blobs is not None and folder is not None:
            _link_new(blobs, folder)
        snapshots = {service: stack.enter_context(closing(_connect(path))) for service, path in files.items()}
        with ExitStack() as held:
            for path in files.values():
                writer = held.enter_context(closing(_connect(path)))
                writer.execute("BEGIN IMMEDIATE")
            for snapshot in snapshots.values():
                snapshot.execute("BEGIN")
                snapshot.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if blobs is not None and folder is not None:
                _link_new(blobs, folder)
        yield Cut(snapshots, folder)


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists():
        raise FileNotFoundError(f"there is no database at {path}")
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)


@contextmanager
def _link_folder(blobs: Path) -> Iterator[Path]:
    """On the file system of the blobs, so that nothing is copied while writers wait."""
    folder = blobs / f"backup-{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _link_new(blobs: Path, folder: Path) -> None:
    for fanout in os.scandir(blobs / "objects") if (blobs / "objects").is_dir() else ():
        known = folder / fanout.name
        known.mkdir(exist_ok=True)
        linked = {entry.name for entry in os.scandir(known)}
        for blob in os.scandir(fanout.path):
            if blob.name not in linked:
                _link(Path(blob.path), known / blob.name)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        return
    except OSError:
        # No links here: a copy it is. Gone meanwhile: its row went before it.
        if source.exists():
            shutil.copyfile(source, target)
