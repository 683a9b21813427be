"""The data folder is used by one mesh at a time, and its keys are made once."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.stack.data_directory import DataDirectory, DataDirectoryError, FirstWorkspace


def test_second_mesh_is_kept_out(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    with data.locked(), pytest.raises(DataDirectoryError, match="another `steno up`"), data.locked():
        pass
    with data.locked():
        pass


def test_next_mesh_waits_for_the_services_of_a_killed_one(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    with data.locked() as lock:
        orphan = subprocess.Popen(
            [sys.executable, "-S", "-c", "import sys, time; sys.stdin.read(); time.sleep(0.5)"], stdin=subprocess.PIPE, pass_fds=[lock]
        )
    said: list[str] = []
    assert orphan.stdin is not None
    began = time.monotonic()
    orphan.stdin.close()
    with data.locked(said.append):
        assert time.monotonic() - began > 0.4
    assert said == ["waiting for the services of a killed run to end"]
    orphan.wait(10)


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path / "data")
    data.prepare()
    files = [data.identity_key, data.pepper, data.signing_key, data.claim_key]
    before = [path.read_bytes() for path in files]
    data.prepare()
    assert [path.read_bytes() for path in files] == before
    assert len(set(before)) == 4
    assert all(len(content) >= 32 and content.strip() == content for content in before[1:])
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600] * 4
    assert data.root.stat().st_mode & 0o077 == 0


def test_half_made_key_of_a_power_cut_is_made_anew(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "identity.pem.new").touch()
    data.prepare()
    assert b"PRIVATE KEY" in data.identity_key.read_bytes()


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    data = DataDirectory(tmp_path / "file" / "data")
    with pytest.raises(DataDirectoryError, match=r"cannot write to .*--data"), data.locked():
        pass
    with pytest.raises(DataDirectoryError, match=r"cannot write to .*--data"):
        data.prepare()


def test_full_disk_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryError, match="MiB free"):
        DataDirectory(tmp_path).prepare(free_bytes_needed=2**62)


def test_first_workspace_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.prepare()
    assert data.read_first_workspace() is None
    workspace = FirstWorkspace("0189-workspace", "sk_live_secret")
    data.write_first_workspace(workspace)
    assert DataDirectory(tmp_path).read_first_workspace() == workspace
    assert data.first_workspace.stat().st_mode & 0o777 == 0o600
