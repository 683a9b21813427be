"""One at a time, by name."""

import asyncio
from weakref import WeakValueDictionary


class Turns:
    """Whoever enters the turn of a name waits until those before have left; nothing is kept of a name that nobody asks for."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, name: str) -> asyncio.Lock:
        """The turn of that name, for `async with`."""
        return self._locks.setdefault(name, asyncio.Lock())
