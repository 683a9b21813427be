"""Loops that remove what is deleted, abandoned or lost."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from services.mesh.errors import MeshError
from services.mesh.telemetry import get_logger
from services.storage.usecases import deletion, upkeep
from services.storage.usecases.depot import Depot

_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 30.0


async def run_reaper(depot: Depot, work: asyncio.Event, every_seconds: float, stopping: asyncio.Event) -> None:
    """Remove the bytes of deleted rows, at once when woken."""

    async def turn() -> None:
        work.clear()
        while await deletion.reap(depot) and not stopping.is_set():
            pass

    await _repeat("reaper", turn, every_seconds, stopping, work)


async def run_janitor(depot: Depot, abandoned: timedelta, every_seconds: float, stopping: asyncio.Event) -> None:
    """Remove abandoned uploads and bytes that nothing speaks of."""

    async def turn() -> None:
        before = datetime.now(UTC) - abandoned
        expired, swept = await upkeep.expire_uploads(depot, before), await upkeep.sweep_blobs(depot, before)
        if expired or swept:
            get_logger("storage.janitor").info("swept", expired_uploads=expired, lost_blobs=swept)

    await _repeat("janitor", turn, every_seconds, stopping, asyncio.Event())


async def _repeat(
    name: str, turn: Callable[[], Awaitable[None]], every_seconds: float, stopping: asyncio.Event, work: asyncio.Event
) -> None:
    """Take turns until `stopping`; a turn that an unavailable part spoils is repeated after a growing delay."""
    delay = _FIRST_DELAY_SECONDS
    while not stopping.is_set():
        try:
            await turn()
        except MeshError as error:
            get_logger(f"storage.{name}").warning("turn spoiled", error=str(error))
            await _pause(stopping, asyncio.Event(), delay * random.uniform(0.5, 1))  # noqa: S311
            delay = min(delay * 2, _LONGEST_DELAY_SECONDS)
        else:
            delay = _FIRST_DELAY_SECONDS
            await _pause(stopping, work, every_seconds)


async def _pause(stopping: asyncio.Event, work: asyncio.Event, seconds: float) -> None:
    waits = [asyncio.create_task(event.wait(), name="storage pause") for event in (stopping, work)]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
