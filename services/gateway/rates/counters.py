"""Where the accepted requests of the last minute are counted: in this process, or on the bus for all gateways together."""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable

from services.gateway.rates.window import WINDOW_MS, Decision, decide, pack, unpack
from services.mesh.buckets import Bucket
from services.mesh.errors import ServiceUnavailable
from services.mesh.turns import Turns

_MAX_KEYS = 10_000
_TRIES = 30
_RETRY_SECONDS = 0.002
BUCKET = "steno_rates"
BUCKET_SECONDS = 2 * WINDOW_MS / 1000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class LocalCounter:
    """Counts in this process; keys not seen for longest are forgotten first."""

    def __init__(self, now_ms: Callable[[], int] = _now_ms) -> None:
        self._now_ms = now_ms
        self._stamps: OrderedDict[str, tuple[int, ...]] = OrderedDict()

    async def count(self, key: str, limit: int) -> Decision:
        """Count one more request of the key, unless the limit is reached."""
        decision = decide(self._stamps.pop(key, ()), self._now_ms(), limit)
        self._stamps[key] = decision.stamps
        if len(self._stamps) > _MAX_KEYS:
            self._stamps.popitem(last=False)
        return decision


class SharedCounter:
    """Counts on the bus by compare-and-set. Clocks of the gateways should agree to a second or so."""

    def __init__(self, bucket: Bucket, now_ms: Callable[[], int] = _now_ms) -> None:
        self._bucket = bucket
        self._now_ms = now_ms
        # Requests of one key wait for each other here rather than fail at the bus.
        self._turns = Turns()

    async def count(self, key: str, limit: int) -> Decision:
        """Count one more request of the key, unless the limit is reached. Raises ServiceUnavailable."""
        async with self._turns.of(key):
            for attempt in range(_TRIES):
                value, revision = await self._bucket.read(key)
                decision = decide(unpack(value), self._now_ms(), limit)
                if not decision.accepted or await self._bucket.replace(key, pack(decision.stamps), revision):
                    return decision
                await asyncio.sleep(_RETRY_SECONDS * (attempt + 1) * random.random())  # noqa: S311 - jitter, not a secret
        raise ServiceUnavailable("Too many gateways count this key at once.")
