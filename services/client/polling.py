"""Asking again and again until something has ended."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from services.client.failures import Refused, Unreachable

POLL_SECONDS = 3.0
FIRST_WAIT_SECONDS = 0.2
PATIENCE_SECONDS = 120.0
# What says that the thing itself cannot be followed, rather than that the server is in trouble.
FINAL_STATUSES = frozenset({400, 401, 403, 404, 410})

T = TypeVar("T")


def poll(ask: Callable[[], T], has_ended: Callable[[T], bool], on_change: Callable[[T], None]) -> T:
    """The first answer that has ended; on_change hears every one.

    Raises Refused, and Unreachable when the server has not answered for two minutes.
    """
    wait, heard = FIRST_WAIT_SECONDS, time.monotonic()
    while True:
        try:
            answer = ask()
        except (Refused, Unreachable) as error:
            if (isinstance(error, Refused) and error.status in FINAL_STATUSES) or time.monotonic() - heard > PATIENCE_SECONDS:
                raise
        else:
            heard = time.monotonic()
            on_change(answer)
            if has_ended(answer):
                return answer
        time.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 (jitter)
        wait = min(POLL_SECONDS, wait * 1.5)
