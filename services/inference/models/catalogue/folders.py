"""How a models directory changes: one writer a model, and what is half done is never under a model's name."""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.inference.models.catalogue.errors import ModelBusy, ModelError

_POLL_SECONDS = 0.1
INSTALL_WAIT_SECONDS = 600.0


@contextmanager
def locked(directory: Path, name: str, wait_seconds: float = INSTALL_WAIT_SECONDS) -> Iterator[None]:
    """The only writer of a model, among all processes. Raises ModelBusy after the wait, ModelError where nothing can be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / f".{name}.lock").open("w")
    except OSError as error:
        raise ModelError(f"cannot write to {directory}: {error.strerror}") from error
    with lock:
        until = time.monotonic() + wait_seconds
        while not _lock(lock.fileno()):
            if time.monotonic() >= until:
                raise ModelBusy(f"another process is at work on {name} in {directory}; wait for it to end")
            time.sleep(_POLL_SECONDS)
        _recover(directory / name)
        yield


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unfinished_folder(directory: Path, name: str) -> Path:
    """Where a model is put together; starts with a dot, which no name does."""
    return directory / f".{name}.new"


def publish(unfinished: Path, target: Path) -> None:
    """Give a finished folder its name, in place of what had it. Only for the holder of the lock."""
    _settle(unfinished)
    old = _old(target)
    _discard(old)
    if target.exists():
        target.rename(old)
    unfinished.rename(target)
    _sync(target.parent)
    _discard(old)


def remove(target: Path) -> None:
    """Take a model away at one stroke, then its bytes. Only for the holder of the lock."""
    gone = target.with_name(f".{target.name}.gone")
    _discard(gone)
    target.rename(gone)
    _discard(gone, ignore_errors=False)


def _recover(target: Path) -> None:
    """After a crash between two renames the old model is the one to have; other leavings are rubbish."""
    old = _old(target)
    if old.exists() and not target.exists():
        old.rename(target)
    for leaving in (old, target.with_name(f".{target.name}.gone")):
        _discard(leaving)


def _discard(folder: Path, ignore_errors: bool = True) -> None:
    """Delete a folder, or the link that leads to one elsewhere."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=ignore_errors)


def _old(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")


def _settle(folder: Path) -> None:
    """Have the disk hold every file, so that a power cut after the rename leaves no empty ones."""
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot sync folders
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
