"""What a SQLite file must be before a service trusts it: on a local disk, and whole after a crash."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

# SQLite's WAL needs shared memory and locks that these do not keep. Source: sqlite.org/wal.html, "Disadvantages".
_NETWORK_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.glusterfs"})
_FREE_BYTES_NEEDED = 4 * 1024 * 1024
_MOUNTS = Path("/proc/self/mountinfo")


class UnfitFile(Exception):
    """The database file is on a network file system or damaged; the message says which."""


def prepare_file(path: Path, mounts: Path = _MOUNTS) -> None:
    """Make the file's folder and check the file. Raises UnfitFile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    filesystem = filesystem_of(path.parent.resolve(), mounts)
    if filesystem in _NETWORK_FILESYSTEMS:
        raise UnfitFile(f"{path} is on {filesystem}, where SQLite loses data: use a local disk or Postgres")
    if _was_left_open(path):
        _check(path)


def has_room(path: Path) -> bool:
    """Whether the disk of a database has room for what a busy minute writes; without it reads go on and writes fail."""
    return shutil.disk_usage(path.parent).free >= _FREE_BYTES_NEEDED


def filesystem_of(folder: Path, mounts: Path = _MOUNTS) -> str:
    """The type of the file system that holds the folder; empty where the system does not tell."""
    if not mounts.exists():
        return ""
    best, kind = -1, ""
    for line in mounts.read_text(encoding="utf-8").splitlines():
        mount, _, source = line.partition(" - ")
        point = Path(mount.split()[4].replace("\\040", " "))
        if folder.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), source.split()[0]
    return kind


def _was_left_open(path: Path) -> bool:
    """A clean close removes the write-ahead log."""
    log = path.with_name(path.name + "-wal")
    return path.exists() and log.exists() and log.stat().st_size > 0


def _check(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=5.0)) as connection:
            [verdict] = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        raise UnfitFile(f"{path}: {error}") from error
    if verdict != "ok":
        raise UnfitFile(f"{path}: {verdict}")
