"""Disks of our own: file systems in a file or in memory, mounted while a block runs. Needs root on Linux."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.campaign import Skipped

_COPY_TRIES = 20
_UNMOUNT_TRIES = 40
_PAUSE_SECONDS = 0.25
_MEBIBYTE = 1024**2


def require_mounts() -> None:
    """Raises Skipped with what is missing for mounting images here."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Skipped("mounting file systems needs root on Linux")
    for program in ("mkfs.ext4", "losetup", "mount", "umount"):
        if shutil.which(program) is None:
            raise Skipped(f"{program} is not installed")


class Disk:
    """An ext4 file system in a file. What no fsync asked for stays in memory, so a copy of the file is the disk after a power cut."""

    def __init__(self, image: Path, device: str, folder: Path) -> None:
        self.image = image
        self.folder = folder
        self._statistics = Path("/sys/block") / Path(device).name / "stat"

    def copy(self, to: Path) -> Path:
        """The disk at one instant; everything that writes to it must be stopped. Raises AssertionError while it is written to."""
        for _ in range(_COPY_TRIES):
            before = self._writes()
            _run("cp", "--sparse=always", str(self.image), str(to))
            if before == self._writes():
                return to
        raise AssertionError("the kernel wrote to the image during every copy")

    def _writes(self) -> tuple[int, int]:
        """Writes done, and requests in flight."""
        fields = self._statistics.read_text().split()
        return int(fields[4]), int(fields[8])


def new_image(path: Path, mebibytes: int) -> Path:
    """An empty ext4 image, complete: the kernel has nothing left to initialize behind our back."""
    require_mounts()
    with path.open("wb") as file:
        file.truncate(mebibytes * _MEBIBYTE)
    options = "lazy_itable_init=0,lazy_journal_init=0"
    _run("mkfs.ext4", "-q", "-F", "-m", "0", "-N", "8192", "-J", "size=16", "-E", options, str(path))
    return path


@contextmanager
def mounted_image(image: Path, folder: Path) -> Iterator[Disk]:
    """The image mounted on the folder. Raises Skipped where that is not allowed.

    `commit` in seconds: the journal is not to be written just because time passes, or it would hide a missing fsync.
    """
    require_mounts()
    folder.mkdir(parents=True, exist_ok=True)
    device = _attached(image)
    try:
        _mount("-o", "commit=900", device, str(folder))
        try:
            yield Disk(image, device, folder)
        finally:
            _unmount(folder)
    finally:
        _run("losetup", "--detach", device)


@contextmanager
def memory_disk(folder: Path, mebibytes: int) -> Iterator[Path]:
    """A small file system in memory on the folder. Raises Skipped where that is not allowed."""
    require_mounts()
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0700", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _unmount(folder)


def fill(folder: Path) -> Path:
    """A file that takes every free byte of the folder's file system; remove it to free them."""
    filler = folder / ".filler"
    with filler.open("wb", buffering=0) as file:
        for size in (_MEBIBYTE, 4096, 512, 1):
            _write_until_full(file.fileno(), bytes(size))
    return filler


def _write_until_full(descriptor: int, piece: bytes) -> None:
    while True:
        try:
            os.write(descriptor, piece)
            os.fsync(descriptor)
        except OSError:
            return


def _attached(image: Path) -> str:
    made = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise Skipped(f"no loop device: {made.stderr.strip()}")
    return made.stdout.strip()


def _mount(*arguments: str) -> None:
    made = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise Skipped(f"mount is not allowed: {made.stderr.strip()}")


def _unmount(folder: Path) -> None:
    for _ in range(_UNMOUNT_TRIES):
        if subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(_PAUSE_SECONDS)
    _run("umount", "--lazy", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)
