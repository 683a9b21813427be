"""Bounds on what clients may have in flight."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.gateway.domain import Reason, Refusal


class Slots:
    """So many at once; more are told to come back."""

    def __init__(self, size: int, retry_after_seconds: int = 2) -> None:
        self._free = size
        self._retry_after_seconds = retry_after_seconds

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Within, one slot is in use. Raises Refusal when none is free."""
        if self._free <= 0:
            raise Refusal(Reason.OVERLOADED, retry_after_seconds=self._retry_after_seconds)
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1
