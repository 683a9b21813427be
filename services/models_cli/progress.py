"""What a person sees of long work: a bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from services.client.display import bars
from services.models_cli.source import Told


class Transfer:
    """A bar over several files."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total)
        self._before = 0

    @contextmanager
    def file(self, name: str, size: int) -> Iterator[Told]:
        """One file after the other; what is told counts from its start."""
        self._progress.update(self._task, description=name)
        yield lambda there: self._progress.update(self._task, completed=self._before + there)
        self._before += size
        self._progress.update(self._task, completed=self._before)


@contextmanager
def transfer(total: int) -> Iterator[Transfer]:
    """A bar of so many bytes."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with bars(*columns) as progress:
        yield Transfer(progress, total)


@contextmanager
def working(sentence: str) -> Iterator[None]:
    """Work without a measure: a spinner on a terminal, a line elsewhere."""
    if not sys.stderr.isatty():
        print(sentence, file=sys.stderr, flush=True)
    with bars(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as progress:
        progress.add_task(sentence, total=None)
        yield


def megabytes(size_bytes: int) -> str:
    """A size for reading."""
    return f"{size_bytes / 1e6:,.0f} MB" if size_bytes >= 9_500_000 else f"{size_bytes / 1e6:.1f} MB"
