"""The loops of jobs; each turn is a use case, and a failed turn is tried again at the next."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from services.jobs.domain import WORK_CLASSES
from services.jobs.store.pending import Owner
from services.jobs.usecases.dispatch import dispatch_round, kinds_handed_out, kinds_to_serve, recall_all, recall_lost
from services.jobs.usecases.fetch import fetch_next
from services.jobs.usecases.orphans import Walk, next_walk, order_orphans
from services.jobs.usecases.reconcile import HoldWalk, reconcile_holds
from services.jobs.usecases.resources import Resources
from services.jobs.usecases.retention import expire_audio
from services.jobs.usecases.sweep import sweep_leases
from services.mesh.bus import Bus
from services.mesh.errors import MeshError
from services.mesh.outbox import OutboxRelay
from services.mesh.steady_clock import SteadyClock
from services.mesh.streams import WORK, work_consumer
from services.mesh.telemetry import get_logger


async def repeat(
    turn: Callable[[], Awaitable[object]], *, name: str, seconds: float, stopping: asyncio.Event, woken: asyncio.Event
) -> None:
    """A turn at once, then whenever woken and at least every so many seconds, until stopping."""
    logger = get_logger("jobs.workers")
    while not stopping.is_set():
        woken.clear()
        try:
            await turn()
        except MeshError as error:
            logger.warning("turn failed", worker=name, error=str(error))
        await _either(woken, stopping, seconds)


async def drain(turn: Callable[[], Awaitable[int]], *, batch_size: int, stopping: asyncio.Event) -> None:
    """As many turns as it takes until one finds less than a batch to do: what comes in faster than the pauses allow piles up."""
    while not stopping.is_set() and await turn() >= batch_size:
        pass


async def _either(woken: asyncio.Event, stopping: asyncio.Event, seconds: float) -> None:
    waits = {asyncio.create_task(event.wait(), name="wait") for event in (woken, stopping)}
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


class Dispatcher:
    """Hands jobs out, remembering which workspace was served last, for each kind by itself."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._last_workspace_ids = dict.fromkeys(WORK_CLASSES, "")

    async def turn(self) -> None:
        """Fills the windows. Raises MeshError when the database does not answer."""
        for kind in await kinds_to_serve(self._resources):
            served = await dispatch_round(self._resources, kind, self._last_workspace_ids[kind])
            self._last_workspace_ids[kind] = served.workspace_id


class OrphanFinder:
    """Walks through the media in storage, remembering how far it came."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._walk: Walk | None = None

    async def turn(self) -> None:
        """A part of the walk. Raises MeshError when database or storage do not answer."""
        walk = await next_walk(self._resources, self._walk)
        self._walk = await order_orphans(self._resources, walk)


class AudioExpirer:
    """Removes audio that was kept long enough."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        # SQLite asks this process's own clock: only a clock that does not follow its steps can tell that it was set wrong.
        self._clock = SteadyClock()

    async def turn(self) -> None:
        """What is due now. Raises MeshError when the database does not answer."""
        while await expire_audio(self._resources, self._clock.now()) >= self._resources.policy.batch_size:
            pass


class Fetcher:
    """Fetches submitted URLs, one at a time, remembering whose was served last."""

    def __init__(self, resources: Resources, stopping: asyncio.Event) -> None:
        self._resources = resources
        self._stopping = stopping
        self._served: Owner | None = None

    async def turn(self) -> None:
        """All that is due. Raises MeshError when the database does not answer."""
        while not self._stopping.is_set():
            served = await fetch_next(self._resources, self._stopping, self._served)
            if served is None:
                return
            self._served = served


class Reconciler:
    """Walks through the open holds in billing, remembering how far it came: many that stay open hide none behind them."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._walk = HoldWalk()

    async def turn(self) -> None:
        """A part of the walk. Raises MeshError when database or billing do not answer."""
        self._walk = await reconcile_holds(self._resources, self._walk)


class Sweeper:
    """Finds leases that ran out and work that the queue lost."""

    def __init__(self, resources: Resources, bus: Bus, relay: OutboxRelay) -> None:
        self._resources = resources
        self._bus = bus
        self._relay = relay
        self._stream_created: datetime | None = None

    async def turn(self) -> None:
        """One look at the leases and at the queue. Raises MeshError when database or bus do not answer."""
        await sweep_leases(self._resources)
        await recall_lost(self._resources, WORK_CLASSES, queue_is_empty=False)
        created = await self._bus.stream_created(WORK)
        if self._stream_created not in (None, created):
            get_logger("jobs.workers").warning("work queue was replaced")
            await recall_all(self._resources)
        self._stream_created = created
        for kind in await kinds_handed_out(self._resources):
            if await self._queue_is_empty(WORK_CLASSES[kind]):
                await recall_lost(self._resources, [kind], queue_is_empty=True)

    async def _queue_is_empty(self, work_class: str) -> bool:
        """Whether what was handed out a while ago is neither on its way to the queue nor in it, asked in this order."""
        backlog = await self._relay.backlog()
        if backlog.oldest_seconds >= self._resources.policy.lost_dispatch_age.total_seconds():
            return False
        pending = await self._bus.pending(work_consumer(work_class))
        return not pending.waiting and not pending.outstanding
