"""Loops that remove what is deleted, abandoned or lost."""

import asyncio
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from services.mesh.errors import MeshError
from services.mesh.telemetry import get_logger
from services.storage.usecases import deletion, upkeep
from services.storage.usecases.datasets import preparing
from services.storage.usecases.datasets.preparing import Preparer
from services.storage.usecases.depot import Depot

_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 30.0
CLOCK_TOLERANCE_SECONDS = 300.0
_FOLDER_SECONDS = 86_400.0


class ClockWatch:
    """Whether ages told by the clocks are true: the database's agrees with this machine's, and neither was moved of late.

    After a step everything looks as much older as the step was long, so ages are distrusted until they would be true again.
    """

    def __init__(self, longest_age: timedelta, steady: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._longest_age_seconds = longest_age.total_seconds()
        self._steady, self._wall = steady, wall
        self._offset_seconds = wall() - steady()
        self._distrusted_until = float("-inf")

    def trusts(self, database_now: datetime) -> bool:
        """Look at the clocks; call it often compared with the longest age."""
        offset_seconds = self._wall() - self._steady()
        moved = abs(offset_seconds - self._offset_seconds) > CLOCK_TOLERANCE_SECONDS
        apart = abs(database_now.timestamp() - self._wall()) > CLOCK_TOLERANCE_SECONDS
        self._offset_seconds = offset_seconds
        if moved or apart:
            self._distrusted_until = self._steady() + self._longest_age_seconds
        return self._steady() >= self._distrusted_until


async def run_reaper(depot: Depot, work: asyncio.Event, every_seconds: float, stopping: asyncio.Event) -> None:
    """Remove the bytes of deleted rows, at once when woken."""

    async def turn() -> None:
        work.clear()
        while await deletion.reap(depot) and not stopping.is_set():
            pass

    await _repeat("reaper", turn, every_seconds, stopping, work)


async def run_janitor(depot: Depot, abandoned: timedelta, every_seconds: float, stopping: asyncio.Event) -> None:
    """Remove abandoned uploads and bytes that nothing speaks of."""

    watch = ClockWatch(abandoned)

    async def turn() -> None:
        now = await upkeep.read_clock(depot)
        if not watch.trusts(now):
            get_logger("storage.janitor").warning("clock moved, nothing swept")
            return
        expired, swept = await upkeep.expire_uploads(depot, abandoned), await upkeep.sweep_blobs(depot, now - abandoned)
        await upkeep.drop_unfinished_audio(depot)
        if expired or swept:
            get_logger("storage.janitor").info("swept", expired_uploads=expired, lost_blobs=swept)

    await _repeat("janitor", turn, every_seconds, stopping, asyncio.Event())


async def run_preparer(depot: Depot, preparer: Preparer, work: asyncio.Event, every_seconds: float, stopping: asyncio.Event) -> None:
    """Prepare audio of datasets, at once when woken."""
    await asyncio.to_thread(sweep_folders, preparer.folder)

    async def turn() -> None:
        work.clear()
        await preparing.refresh(depot, preparer)
        while not stopping.is_set() and await _unless_stopping(preparing.prepare_next(depot, preparer), stopping):
            # Another loop of this process may look for the rest.
            work.set()

    await _repeat("preparer", turn, every_seconds, stopping, work)


async def _unless_stopping(prepared: Coroutine[Any, Any, bool], stopping: asyncio.Event) -> bool:
    """Whether there was a file to prepare; its preparation is given back when the service stops."""
    task = asyncio.create_task(prepared, name="storage preparing")
    stop = asyncio.create_task(stopping.wait(), name="storage preparing stop")
    try:
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        return task.done() and task.result()
    finally:
        for ended in (task, stop):
            ended.cancel()
        await asyncio.wait([task, stop])


def sweep_folders(folder: Path) -> None:
    """Remove what killed preparations left a day ago or earlier; replicas may share the folder."""
    before = time.time() - _FOLDER_SECONDS
    for path in folder.glob("prepare-*"):
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                shutil.rmtree(path)


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
