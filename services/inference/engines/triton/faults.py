"""What can go wrong with a call to Triton, told apart by its status and message.

UNAVAILABLE alone says nothing: it is a server that is gone, a queue that is full, a wait in the queue that was too long, a model that is
not ready, and a part of the API that the operator closed. The messages are those of Triton 24.10; what is not known is taken for a server
that is gone, which is looked after and tried again.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

import grpc

T = TypeVar("T")


class Fault(StrEnum):
    """gone: no connection. late: no answer in time. full: the queue. unready: the model is not loaded. dead: the model's process ended.

    failed: the model raised. refused: never taken like this, however often it is asked.
    """

    GONE = "gone"
    LATE = "late"
    FULL = "full"
    UNREADY = "unready"
    DEAD = "dead"
    FAILED = "failed"
    REFUSED = "refused"


class CallFailed(Exception):
    """A call without an answer. reached: the server had it in hand, so that it may be what went wrong there."""

    def __init__(self, fault: Fault, message: str, *, reached: bool = True) -> None:
        super().__init__(f"{fault}: {message}")
        self.fault = fault
        self.message = message
        self.reached = reached


_FULL = ("maximum queue size", "timeout expired")
_UNREADY = ("not at ready state", "not ready", "no available versions", "is loading", "is unloading")
_CLOSED = ("is restricted", "not allowed")
_NEVER_CONNECTED = ("failed to connect", "connection refused", "dns resolution failed", "name resolution", "no address")
_DEAD = "is not healthy"
_BY_CODE = {
    grpc.StatusCode.DEADLINE_EXCEEDED: Fault.LATE,
    grpc.StatusCode.NOT_FOUND: Fault.UNREADY,
    grpc.StatusCode.INVALID_ARGUMENT: Fault.REFUSED,
    grpc.StatusCode.OUT_OF_RANGE: Fault.REFUSED,
    grpc.StatusCode.UNIMPLEMENTED: Fault.REFUSED,
    grpc.StatusCode.PERMISSION_DENIED: Fault.REFUSED,
    grpc.StatusCode.UNAUTHENTICATED: Fault.REFUSED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Fault.REFUSED,
    grpc.StatusCode.CANCELLED: Fault.GONE,
}


def classify(code: grpc.StatusCode, message: str) -> CallFailed:
    """What a status of Triton means."""
    told = message.lower()
    if code is grpc.StatusCode.UNAVAILABLE:
        return _unavailable(message, told)
    if _DEAD in told:
        return CallFailed(Fault.DEAD, message)
    fault = _BY_CODE.get(code, Fault.FAILED)
    return CallFailed(fault, message, reached=fault is not Fault.UNREADY)


def _unavailable(message: str, told: str) -> CallFailed:
    for fault, phrases in ((Fault.FULL, _FULL), (Fault.REFUSED, _CLOSED), (Fault.UNREADY, _UNREADY)):
        if any(phrase in told for phrase in phrases):
            return CallFailed(fault, message, reached=False)
    return CallFailed(Fault.GONE, message, reached=not any(phrase in told for phrase in _NEVER_CONNECTED))


def understood(decode: Callable[[], T]) -> T:
    """What an answer says. Raises CallFailed for one in another form than ours."""
    try:
        return decode()
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CallFailed(Fault.REFUSED, f"it answers in another form: {error!r}") from error
