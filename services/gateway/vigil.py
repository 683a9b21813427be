"""Waiting long for a service that works, and not for one that hangs."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import grpc

from services.gateway.domain import Reason, Refusal
from services.mesh.status import RemoteError

T = TypeVar("T")
Check = Callable[[], Awaitable[bool]]

_LOOK_SECONDS = 1.5
_SILENT_LOOKS = 2
_SILENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def while_alive(work: Coroutine[Any, Any, T], alive: Check) -> T:
    """The work's result, however long it takes, as long as the service that does it answers; raises what the work does.

    Raises Refusal with BACKEND_UNREACHABLE once the service was silent twice in a row, within ten seconds.
    """
    task = asyncio.create_task(work, name="work that is watched")
    silent = 0
    try:
        while silent < _SILENT_LOOKS:
            done, _ = await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            if done:
                return task.result()
            silent = 0 if await _answers(alive) else silent + 1
        raise Refusal(Reason.BACKEND_UNREACHABLE)
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _answers(alive: Check) -> bool:
    """One that says it is not well has answered: it may still end what it does."""
    try:
        await alive()
    except RemoteError as error:
        return error.code not in _SILENT
    return True
