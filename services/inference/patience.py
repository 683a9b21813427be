"""Repeating calls whose other side is away for a moment."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
import httpx2

from services.mesh.errors import ResourceExhausted, Unavailable
from services.mesh.status import RemoteError
from services.mesh.telemetry import get_logger

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.1
_LAST_PAUSE_SECONDS = 2.0
_PASSING_CODES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED)
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500


async def patiently(call: Callable[[], Awaitable[T]], what: str, seconds: float) -> T:
    """Call, and again after a growing pause while the other side is away, for so long. Raises what the last call raised."""
    end, pause = time.monotonic() + seconds, _FIRST_PAUSE_SECONDS
    while True:
        try:
            return await call()
        except Exception as error:
            if not is_passing(error) or time.monotonic() + pause > end:
                raise
            get_logger("inference.patience").warning("will be tried again", what=what, error=str(error))
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (jitter)
        pause = min(pause * 2, _LAST_PAUSE_SECONDS)


def is_passing(error: Exception) -> bool:
    """Whether the other side is away or full, rather than refusing."""
    if isinstance(error, RemoteError):
        return error.code in _PASSING_CODES
    if isinstance(error, httpx2.HTTPStatusError):
        status = error.response.status_code
        return status == _TOO_MANY_REQUESTS or status >= _SERVER_ERRORS
    return isinstance(error, Unavailable | ResourceExhausted | httpx2.TransportError | TimeoutError)
