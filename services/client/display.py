"""What a person sees: bars on a terminal's standard error, tables on its standard output, plain lines elsewhere."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from services.client.api import Row


def say(sentence: str) -> None:
    """One line for the person, on standard error."""
    print(sentence, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """A machine's answer on standard output."""
    print(json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None), flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal, tab-separated lines elsewhere."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(cell.replace("\t", " ") for cell in row))
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(_escape(cell) for cell in row))
    Console().print(table)


def print_fields(row: Row) -> None:
    """One thing, a field a line."""
    width = max(map(len, row), default=0)
    for name, value in row.items():
        print(f"{name:<{width}}  {_plain(value)}")


def local_time(value: Any) -> str:
    """A time of the API, epoch seconds or text, for reading."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(value))
    return "" if value is None else str(value)


def bars(*columns: ProgressColumn) -> Progress:
    """Bars on standard error, gone when they are done; silent unless that is a terminal."""
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())


@contextmanager
def upload_bar(name: str, size_bytes: int | None) -> Iterator[Callable[[int], None]]:
    """A bar told how many bytes have gone."""
    with bars(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn()) as progress:
        task = progress.add_task(f"Uploading {_escape(name)}", total=size_bytes)
        yield lambda done_bytes: progress.update(task, completed=done_bytes)


@contextmanager
def job_bar() -> Iterator[Callable[[Row], None]]:
    """A bar told every state of a job."""
    with bars(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()) as progress:
        task = progress.add_task("Waiting", total=1.0)
        yield lambda job: progress.update(task, description=_title(job), completed=_share(job))


def _title(job: Row) -> str:
    return {"queued": "Queued", "processing": "Transcribing", "done": "Done"}.get(str(job.get("status")), str(job.get("status")))


def _share(job: Row) -> float:
    value = job.get("progress")
    return float(value) if isinstance(value, int | float) else 0.0


def _escape(text: str) -> str:
    return text.replace("[", r"\[")


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
