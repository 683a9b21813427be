"""The shared memory of Triton's Python backend, which outlives a server that was killed."""

from contextlib import suppress
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (POSIX shared memory, where Triton puts it)


def name_prefix(folder: Path) -> str:
    """What the names of a server's regions begin with.

    From its folder's place on the disk, not its path, which two containers may share: one server runs on a folder at a time, so that
    what bears the prefix while none runs is left over.
    """
    status = folder.stat()
    return f"steno-{status.st_dev:x}-{status.st_ino:x}-"


def tidy(folder: Path) -> None:
    """Remove the regions of the folder's server, which must have ended."""
    for region in SHARED_MEMORY.glob(f"{name_prefix(folder)}*"):
        with suppress(FileNotFoundError):
            region.unlink()
