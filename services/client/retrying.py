"""Another try where it may help: a lost connection, or a server that is busy."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import httpx2

from services.client.failures import Refused, Unreachable

TRIES = 4
_LONGEST_WAIT_SECONDS = 30.0
_WORTH_ANOTHER_TRY = frozenset({429, 502, 503, 504})

T = TypeVar("T")


def retried(call: Callable[[], T], *, repeatable: bool = True) -> T:
    """What the call returns in the end. repeatable: False tries once. Raises Refused or Unreachable once no further try is worth it."""
    for attempt in range(1, TRIES + 1):
        try:
            return call()
        except (Refused, Unreachable) as error:
            wait = _wait_seconds(error, attempt)
            if attempt == TRIES or wait is None or not repeatable:
                raise
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _wait_seconds(error: Refused | Unreachable, attempt: int) -> float | None:
    """Seconds before the next try; None when it would end the same way."""
    backoff = 2.0 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311 (jitter)
    if isinstance(error, Unreachable):
        return None if isinstance(error.__cause__, httpx2.ConnectError) else backoff
    if error.status not in _WORTH_ANOTHER_TRY or error.retry_after_seconds > _LONGEST_WAIT_SECONDS:
        return None
    return max(error.retry_after_seconds, backoff)
