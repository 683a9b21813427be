"""How many calls one model bears at once: a step more while it takes them, half as many when its queue is full."""

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_SHRINK_SECONDS = 1.0


class CallLimit:
    """A bound on calls under way, between 1 and 4 full batches; it begins with 2. Who waits goes by priority, then in turn."""

    def __init__(self, max_batch: int) -> None:
        self._most = 4 * max_batch
        self._bound = 2.0 * max_batch
        self._shrunk_at = float("-inf")
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._listeners: list[Callable[[], None]] = []
        self.held = 0

    @property
    def bound(self) -> int:
        """Calls that may be under way now."""
        return int(self._bound)

    def on_change(self, changed: Callable[[], None]) -> None:
        """Call this whenever `bound` changed."""
        self._listeners.append(changed)

    def fit(self, max_batch: int) -> None:
        """Learn how many requests the model takes at once."""
        if self._most != 4 * max_batch:
            self._most = 4 * max_batch
            self._move(2.0 * max_batch)

    def grow(self) -> None:
        """A call was answered: one more for every round of calls, where the bound is what holds them back."""
        if self.held >= self.bound:
            self._move(min(float(self._most), self._bound + 1 / self._bound))

    def shrink(self) -> None:
        """The queue was full. The calls of one moment are told so together and count once."""
        if time.monotonic() - self._shrunk_at > _SHRINK_SECONDS:
            self._shrunk_at = time.monotonic()
            self._move(max(1.0, self._bound / 2))

    def _move(self, bound: float) -> None:
        before, self._bound = self.bound, bound
        if self.bound != before:
            self._admit()
            for changed in self._listeners:
                changed()

    @asynccontextmanager
    async def slot(self, priority: int) -> AsyncIterator[None]:
        """Hold a place. priority: 0 before 1."""
        await self._take(priority)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, priority: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (priority, next(self._order), turn))
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        self.held -= 1
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self.held < self.bound:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self.held += 1
                turn.set_result(None)
