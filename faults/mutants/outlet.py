"""The power of a stage: a disk that can be put back to what was on it when the power went."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from faults.freezing import end_tree, freeze
from faults.images import Disk, mounted_image, new_image

_IMAGE_MEBIBYTES = 768


class Outlet:
    """An ext4 image mounted below a folder while entered. Raises Skipped where that is not allowed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "disk"
        self._images = folder
        self._mounted = ExitStack()
        self._disk: Disk | None = None
        self._cuts = 0

    def __enter__(self) -> Self:
        self._images.mkdir(parents=True, exist_ok=True)
        self._mount(new_image(self._images / "disk.img", _IMAGE_MEBIBYTES))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._mounted.close()

    def cut(self, pids: Sequence[int], kill: Callable[[], None]) -> None:
        """Stop the processes at one instant, and mount what an fsync had put on the disk by then where the disk was."""
        assert self._disk is not None
        for pid in pids:
            freeze(pid)
        self._cuts += 1
        after = self._disk.copy(self._images / f"after-{self._cuts}.img")
        for pid in pids:
            # With all below it: a stopped child in a group of its own would keep the disk in use.
            end_tree(pid)
        kill()
        self._mounted.close()
        self._mount(after)

    def _mount(self, image: Path) -> None:
        self._disk = self._mounted.enter_context(mounted_image(image, self.folder))
