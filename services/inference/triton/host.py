"""What Triton's backend asks of a model: a batch of rows in, an answer for each out."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from services.inference.triton.wire import Arrays, BadRequest

CHECK_SECONDS = 0.05


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


Answer: TypeAlias = Arrays | BadRequest | Cancelled


@dataclass(frozen=True, slots=True)
class Row:
    """One request. cancelled: whether nobody waits for it any more; in the thread that answers."""

    inputs: Arrays
    cancelled: Callable[[], bool]


class Host(Protocol):
    """A loaded model."""

    def answer(self, rows: Sequence[Row]) -> list[Answer]:
        """One answer per row; a bad row's is its own. Whatever is raised is every row's."""


class Patience:
    """Asks whether a request is cancelled twenty times a second at most: each question is a message to another process."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._next_seconds = 0.0
        self._cancelled = False

    def __call__(self) -> bool:
        now_seconds = time.monotonic()
        if not self._cancelled and now_seconds >= self._next_seconds:
            self._cancelled = self._ask()
            self._next_seconds = now_seconds + CHECK_SECONDS
        return self._cancelled


class RowsApart:
    """A host whose model hears one row at a time: a batch's rows in threads beside each other."""

    def __init__(self, answer: Callable[[Arrays], Arrays], threads: int) -> None:
        self._answer = answer
        self._pool = ThreadPoolExecutor(threads, "row")

    def answer(self, rows: Sequence[Row]) -> list[Answer]:
        """See Host."""
        waiting = [None if row.cancelled() else self._pool.submit(self._guarded, row.inputs) for row in rows]
        return [Cancelled() if future is None else future.result() for future in waiting]

    def _guarded(self, inputs: Arrays) -> Answer:
        try:
            return self._answer(inputs)
        except BadRequest as error:
            return error


def answers_of(host: Host, rows: Sequence[Row]) -> list[Answer | Exception]:
    """An answer per row; what broke a batch is looked for row by row, so that the others get theirs."""
    try:
        return list(host.answer(rows))
    except Exception as error:
        if len(rows) == 1:
            return [error]
        return [answer for row in rows for answer in answers_of(host, [row])]
