"""Room for calls that take long: so many at once, so many more may wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from services.mesh.errors import Overloaded
from services.mesh.status import RETRY_AFTER


@dataclass
class Slots:
    """Room for calls of one kind. refusal: the sentence for one too many, which may come again after so many seconds."""

    most_at_once: int
    most_waiting: int
    refusal: str
    retry_after_seconds: int = 2
    _asked: int = 0
    _slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.most_at_once)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Hold a place. Raises Overloaded when too many wait."""
        if self._asked >= self.most_at_once + self.most_waiting:
            raise Overloaded(self.refusal, **{RETRY_AFTER: str(self.retry_after_seconds)})
        self._asked += 1
        try:
            async with self._slots:
                yield
        finally:
            self._asked -= 1
