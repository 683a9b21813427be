"""Bounds on what clients may have in flight, and how fast they may submit."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.gateway.domain import Reason, Refusal

_MAX_BUCKETS = 10_000


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


class RateLimiter:
    """A token bucket per API key; those not seen for longest are forgotten first."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key_id: str) -> None:
        """Use one token. Raises Refusal when the bucket is empty; a rate of 0 never is."""
        if not self._per_second:
            return
        now = self._clock()
        tokens, since = self._buckets.pop(key_id, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        allowed = tokens >= 1
        self._buckets[key_id] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise Refusal(Reason.RATE_LIMITED, retry_after_seconds=int((1 - tokens) / self._per_second) + 1)
