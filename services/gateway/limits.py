"""Bounds on what clients may have in flight."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from services.gateway.domain import Reason, Refusal


class Slots:
    """So many at once; more are told to come back.

    share: how many of them one holder may have, so that nobody whom no plan knows takes them all; 0 for any number.
    """

    def __init__(self, size: int, retry_after_seconds: int = 2, *, share: int = 0) -> None:
        self._free = size
        self._share = share or size
        self._held = Counter[str]()
        self._retry_after_seconds = retry_after_seconds

    @contextmanager
    def taken(self, holder: str = "") -> Iterator[None]:
        """Within, one slot is in use. holder: who counts for the share, empty for who has no bound. Raises Refusal when none is free."""
        if self._free <= 0 or (holder and self._held[holder] >= self._share):
            raise Refusal(Reason.OVERLOADED, retry_after_seconds=self._retry_after_seconds)
        self._free -= 1
        self._held[holder] += 1
        try:
            yield
        finally:
            self._free += 1
            self._held[holder] -= 1
            if not self._held[holder]:
                del self._held[holder]
