"""The life of a service process: its named tasks, and the one way to its end."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from services.mesh.telemetry import get_logger

_CANCEL_SECONDS = 5.0


class Lifecycle:
    """Named tasks whose failure ends the service, and the events that tell everybody of its end.

    leaving: it says that it is not ready, and serves on. stopping: it takes nothing more. notice_seconds: between the two.
    """

    def __init__(self, grace_seconds: float = 10.0, notice_seconds: float = 0.0) -> None:
        self.leaving = asyncio.Event()
        self.stopping = asyncio.Event()
        self.notice_seconds = notice_seconds
        self.failure: BaseException | None = None
        self.grace_seconds = grace_seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = False
        self._logger = get_logger("mesh.lifecycle")

    def leave(self) -> None:
        """Begin the orderly end with a notice, so that balancers turn elsewhere; asked once more, or before it serves, without one."""
        if self.leaving.is_set() or not self._open or not self.notice_seconds:
            self.stop()
        self.leaving.set()

    def stop(self) -> None:
        """Begin the orderly end."""
        self.leaving.set()
        self.stopping.set()

    async def served(self) -> None:
        """Until the service is to stop, past its notice."""
        await self.leaving.wait()
        if not await wait_or_stop(self.stopping, self.notice_seconds):
            self.stop()

    def fail(self, failure: BaseException) -> None:
        """Begin the orderly end with exit status 1."""
        if self.failure is None and not self.stopping.is_set():
            self.failure = failure
        self.stop()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run work until `stopping`; its failure ends the service. Raises RuntimeError outside `working()`."""
        if not self._open:
            work.close()
            raise RuntimeError(f"{name} spawned outside Lifecycle.working()")
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._logger.error("task failed", task=task.get_name(), exc_info=error)
        self.fail(error)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Tasks spawned inside end before this block does: asked first, cancelled after the grace period."""
        self._open = True
        try:
            yield
        finally:
            self._open = False
            self.stop()
            await self._finish()

    async def _finish(self) -> None:
        tasks = set(self._tasks)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self.grace_seconds)
        for task in late:
            self._logger.warning("task cancelled after its grace period", task=task.get_name())
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_CANCEL_SECONDS)


async def wait_or_stop(stopping: asyncio.Event, seconds: float) -> bool:
    """Wait for `stopping` at most so long; True when it is set."""
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return False
    return True
