"""What a person sees of long work: bars on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from services.client.display import bars, say
from services.client.submission import OnBytes


class Uploads:
    """A bar over the bytes of several files."""

    def __init__(self, progress: Progress, total_bytes: int) -> None:
        self._progress = progress
        self._task = progress.add_task("Uploading", total=total_bytes)
        self._before = 0

    @contextmanager
    def file(self, name: str, size_bytes: int) -> Iterator[OnBytes]:
        """One file after the other; what is told counts from its start."""
        title = name.replace("[", r"\[")
        self._progress.update(self._task, description=f"Uploading {title}")
        yield lambda done: self._progress.update(self._task, completed=self._before + min(done, size_bytes))
        self._before += size_bytes
        self._progress.update(self._task, completed=self._before)


@contextmanager
def uploads_bar(count: int, total_bytes: int) -> Iterator[Uploads]:
    """A bar of so many bytes."""
    if not sys.stderr.isatty():
        say(f"uploading {count} files, {total_bytes / 1e6:.1f} MB")
    with bars(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()) as progress:
        yield Uploads(progress, total_bytes)


@contextmanager
def count_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar told how many of so many are done."""
    if not sys.stderr.isatty():
        say(f"{title.lower()}: {total}")
    with bars(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def share_bar(title: str) -> Iterator[Callable[[float], None]]:
    """A bar told which share is done, 0 to 1."""
    with bars(TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()) as progress:
        task = progress.add_task(title, total=1.0)
        yield lambda share: progress.update(task, completed=share)
