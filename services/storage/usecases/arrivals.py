"""Fetches in hand: how many at once, one a media, and none for media that is deleted meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from services.mesh.errors import Overloaded
from services.mesh.turns import Turns
from services.storage.domain import MediaNotFound
from services.storage.store import objects
from services.storage.store.tables import Media
from services.storage.usecases.depot import Depot

Result = TypeVar("Result")
WAITING_PER_SLOT = 16


class Arrivals:
    """The slots of one process, and the turns of those who fetch the same media."""

    def __init__(self, slots: int, look_seconds: float = 1.0) -> None:
        self._slots = asyncio.Semaphore(slots)
        self._most_waiting = slots * WAITING_PER_SLOT
        self._waiting = 0
        self._look_seconds = look_seconds
        self.media = Turns()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """One of the slots, waited for in line. Raises Overloaded when the line is long."""
        if self._waiting >= self._most_waiting:
            raise Overloaded
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def unless_deleted(self, depot: Depot, media_id: str, work: Coroutine[Any, Any, Result]) -> Result:
        """What the work comes to. Ends it and raises MediaNotFound soon after the media is deleted, here or elsewhere."""
        task = asyncio.create_task(work, name="storage fetch")
        try:
            while not (await asyncio.wait([task], timeout=self._look_seconds))[0]:
                if await objects.find(depot.database, Media, media_id) is None:
                    raise MediaNotFound(media_id=media_id)
            return task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])
