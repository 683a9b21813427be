"""One at a time, by name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Turns:
    """Whoever enters the turn of a name waits until those before have left; nothing is kept of a name that nobody asks for."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        """The turn of that name, for `async with`."""
        return self._locks.setdefault(name, asyncio.Lock())

    @asynccontextmanager
    async def patiently(self, name: str, seconds: float) -> AsyncIterator[None]:
        """Within, the turn of that name; without it, once whoever has it took longer than that."""
        turn, has_turn = self.of(name), False
        try:
            async with asyncio.timeout(seconds):
                has_turn = await turn.acquire()
        except TimeoutError:
            pass
        try:
            yield
        finally:
            if has_turn:
                turn.release()
