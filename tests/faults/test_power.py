"""What a power cut leaves: the campaign, and the disks and frozen processes that it is made of."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from faults.campaign import Skipped
from faults.campaigns import power
from faults.freezing import end_tree, frozen
from faults.images import Disk, fill, memory_disk, mounted_image, new_image
from tests.e2e.mesh import wait_for
from tests.faults.conftest import Missed


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    try:
        with mounted_image(new_image(tmp_path / "disk.img", 64), tmp_path / "disk") as disk:
            yield disk
    except Skipped as reason:
        pytest.skip(str(reason))


@pytest.mark.timeout(900)
def test_a_power_cut_loses_nothing_that_was_acknowledged(missed: Missed) -> None:
    assert missed(power) == []


def test_a_copied_disk_has_what_was_synced_and_not_the_rest(disk: Disk, tmp_path: Path) -> None:
    (disk.folder / "lost").write_bytes(b"x" * 100_000)
    with (disk.folder / "kept").open("wb") as file:
        file.write(b"y" * 100_000)
        file.flush()
        os.fsync(file.fileno())
    copy = disk.copy(tmp_path / "copy.img")
    with mounted_image(copy, tmp_path / "after") as after:
        sizes = {path.name: path.stat().st_size for path in after.folder.iterdir() if path.is_file()}
    assert sizes.get("kept") == 100_000
    assert sizes.get("lost", 0) == 0


def test_a_filled_disk_takes_nothing_until_it_is_freed(tmp_path: Path) -> None:
    try:
        with memory_disk(tmp_path / "small", 2) as folder:
            filler = fill(folder)
            with pytest.raises(OSError, match="No space"):
                (folder / "more").write_bytes(b"x" * 5000)
            filler.unlink()
            (folder / "more").write_bytes(b"x" * 5000)
    except Skipped as reason:
        pytest.skip(str(reason))


def test_frozen_processes_do_nothing_and_then_go_on() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import os; os.fork()\nwhile True: pass"])
    root = psutil.Process(process.pid)
    wait_for(lambda: root.children() or None, 60, "both processes to run")
    both = [root, *root.children()]
    with frozen(process.pid):
        before = [each.cpu_times().user for each in both]
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert [each.cpu_times().user for each in both] == before
    wait_for(lambda: all(each.cpu_times().user > old for each, old in zip(both, before, strict=True)), 60, "both to go on")
    end_tree(process.pid)
    assert process.wait(10) < 0
