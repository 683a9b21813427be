"""A SQLite file is refused on a network file system and when it is damaged."""

import sqlite3
from pathlib import Path

import pytest

from services.mesh.database import open_database
from services.mesh.sqlite_file import UnfitFile, filesystem_of, prepare_file


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / {tmp_path}/shared rw - nfs4 server:/x rw\n")
    with pytest.raises(UnfitFile, match="nfs4"):
        prepare_file(tmp_path / "shared" / "steno.db", mounts)
    prepare_file(tmp_path / "local" / "steno.db", mounts)


def test_the_innermost_mount_counts(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("1 0 0:1 / / rw - nfs /dev/a rw\n2 1 0:2 / /data rw - ext4 /dev/b rw\n3 1 0:3 / /data\\040two rw - tmpfs t rw\n")
    assert filesystem_of(Path("/data/steno"), mounts) == "ext4"
    assert filesystem_of(Path("/data two"), mounts) == "tmpfs"
    assert filesystem_of(Path("/database"), mounts) == "nfs"


async def test_a_damaged_file_that_was_left_open_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "steno.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [("y" * 500,) for _ in range(200)])
    connection.close()
    content = bytearray(path.read_bytes())
    content[8192:12288] = b"\xff" * 4096
    path.write_bytes(content)
    path.with_name("steno.db-wal").write_bytes(b"left")
    with pytest.raises(UnfitFile):
        async with open_database(f"sqlite+aiosqlite:///{path}", schema="jobs"):
            pass
