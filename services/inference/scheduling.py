"""Turns at the engine: which window of which job is decoded next.

Workspaces take turns by their weights, within a workspace its jobs' priorities by `SHARES`, within a priority the jobs
one by one. A turn that nobody else wants is anybody's, so no share is ever left unused,
and nobody who waits is passed over for ever. Self-clocked fair queueing; source: Golestani 1994.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

from services.mesh import semconv

Waiter = asyncio.Future[None]
_NO_WEIGHTS: Mapping[str, float] = MappingProxyType({})


class Priority(IntEnum):
    """How soon a window is wanted; as `WindowParameters.priority`."""

    SOON = 0
    NORMAL = 1
    LATE = 2


# Turns of a workspace while windows of every priority wait.
SHARES = MappingProxyType({Priority.SOON: 6.0, Priority.NORMAL: 3.0, Priority.LATE: 1.0})
_SOON_MS = 60_000
_NORMAL_MS = 600_000


def priority_after(speech_ms: int) -> Priority:
    """The priority of a window before which its job has so much speech.

    The first minute of every job comes soon, so that short ones end soon and long ones show that they have begun; past ten minutes
    nobody sits and waits.
    """
    if speech_ms < _SOON_MS:
        return Priority.SOON
    return Priority.NORMAL if speech_ms < _NORMAL_MS else Priority.LATE


class Party(NamedTuple):
    """For whom a window is decoded."""

    workspace_id: str
    job_id: str


class _Step(NamedTuple):
    """One level of the way to a line: who, and with which weight among its like."""

    key: Hashable
    weight: float


class _Line:
    """The windows of one job that wait, in order."""

    def __init__(self) -> None:
        self._waiting: dict[Waiter, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, way: Sequence[_Step], waiter: Waiter) -> None:
        self._waiting[waiter] = None

    def take(self) -> Waiter:
        waiter = next(iter(self._waiting))
        del self._waiting[waiter]
        return waiter

    def remove(self, way: Sequence[_Step], waiter: Waiter) -> None:
        self._waiting.pop(waiter, None)


class _Member:
    """One of a rota. due: the rota's own time by which its next turn ends."""

    def __init__(self, due: float, weight: float, line: "_Line | _Rota") -> None:
        self.due = due
        self.weight = weight
        self.line = line


class _Rota:
    """Members that take turns by weight; holds only those for whom somebody waits."""

    def __init__(self) -> None:
        self._members: dict[Hashable, _Member] = {}
        self._time = 0.0

    def __len__(self) -> int:
        return len(self._members)

    def add(self, way: Sequence[_Step], waiter: Waiter) -> None:
        (key, weight), *rest = way
        member = self._members.get(key)
        if member is None:
            member = self._members[key] = _Member(self._time + 1 / weight, weight, _Rota() if rest else _Line())
        member.line.add(rest, waiter)

    def take(self) -> Waiter:
        key, member = min(self._members.items(), key=lambda item: item[1].due)
        del self._members[key]
        waiter = member.line.take()
        self._time = member.due
        if member.line:
            # At the end again: of equals, who waited longest is next.
            member.due += 1 / member.weight
            self._members[key] = member
        elif not self._members:
            self._time = 0.0
        return waiter

    def remove(self, way: Sequence[_Step], waiter: Waiter) -> None:
        (key, _), *rest = way
        if (member := self._members.get(key)) is None:
            return
        member.line.remove(rest, waiter)
        if not member.line:
            del self._members[key]


class WindowScheduler:
    """Turns for the windows of all jobs in hand.

    turns: how many there are at this moment, asked before each is given; one there is always. weights: of workspaces, 1 for all that
    it does not name.
    """

    def __init__(
        self, turns: Callable[[], int], weights: Mapping[str, float] = _NO_WEIGHTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._turns = turns
        self._clock = clock
        self._weights = weights
        self._waiting = _Rota()
        self._taken = 0
        self._counted_at = 0.0

    @property
    def taken(self) -> int:
        """Turns that somebody has."""
        return self._taken

    @asynccontextmanager
    async def turn(self, party: Party, priority: Priority = Priority.SOON) -> AsyncIterator[None]:
        """Wait for a turn and have it within the block."""
        await self._granted(party, priority)
        try:
            yield
        finally:
            self._give_back()

    def refresh(self) -> None:
        """Give the turns that there are more of now."""
        while self._waiting and self._taken < max(1, self._turns()):
            waiter = self._waiting.take()
            if not waiter.done():
                waiter.set_result(None)
                self._count(1)

    async def _granted(self, party: Party, priority: Priority) -> None:
        way = (
            _Step(party.workspace_id, self._weights.get(party.workspace_id, 1.0)),
            _Step(priority, SHARES[priority]),
            _Step(party.job_id, 1.0),
        )
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(way, waiter)
        self.refresh()
        try:
            with semconv.WINDOWS_WAITING.labels(priority.name.lower()).track_inprogress():
                await waiter
        except asyncio.CancelledError:
            self._waiting.remove(way, waiter)
            if waiter.done() and not waiter.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        self._count(-1)
        self.refresh()

    def _count(self, change: int) -> None:
        """Give or take back a turn; the time since the last change was busy if anybody had one."""
        now = self._clock()
        if self._taken:
            semconv.WINDOW_BUSY_SECONDS.inc(now - self._counted_at)
        self._counted_at = now
        self._taken += change
        semconv.WINDOWS_IN_FLIGHT.set(self._taken)
