"""Who watches which job: committed changes, handed on within the process."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from services.mesh.errors import Overloaded, ServiceUnavailable
from steno.jobs.v1.job_pb2 import Job

_MAX_BEHIND = 64


class Subscription:
    """The changes of one job, for one watcher; a watcher that falls behind misses the oldest."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Job | None] = asyncio.Queue(_MAX_BEHIND)

    def put(self, job: Job | None) -> None:
        """A change; None says that there will be no more."""
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(job)

    async def next(self) -> Job:
        """The next change. Raises ServiceUnavailable when this process is about to end, or the job is gone."""
        job = await self._waiting.get()
        if job is None:
            raise ServiceUnavailable("The watch has ended; watch again.", service="jobs")
        return job


class Changes:
    """Subscriptions by job, at most `limit` in all."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._closed = False
        self._watchers: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._seen: dict[str, int] = {}

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[Subscription]:
        """Changes published from now on. Raises Overloaded past the limit."""
        if self._count >= self._limit:
            raise Overloaded("Too many jobs are being watched.")
        subscription = Subscription()
        if self._closed:
            subscription.put(None)
        self._count += 1
        self._watchers[job_id].add(subscription)
        self._seen.setdefault(job_id, 0)
        try:
            yield subscription
        finally:
            self._count -= 1
            self._leave(job_id, subscription)

    def _leave(self, job_id: str, subscription: Subscription) -> None:
        self._watchers[job_id].discard(subscription)
        if not self._watchers[job_id]:
            del self._watchers[job_id], self._seen[job_id]

    def publish(self, job: Job) -> None:
        """Hands a committed change to its watchers."""
        if job.id not in self._seen:
            return
        self._seen[job.id] = max(self._seen[job.id], job.revision)
        for subscription in self._watchers[job.id]:
            subscription.put(job)

    def lose(self, job_id: str) -> None:
        """Ends the watches of a job that is not there any more."""
        for subscription in self._watchers.get(job_id, ()):
            subscription.put(None)

    def seen(self) -> dict[str, int]:
        """The watched jobs, each with the revision that its watchers were told last."""
        return dict(self._seen)

    def close(self) -> None:
        """Ends every watch, now and later."""
        self._closed = True
        for watchers in self._watchers.values():
            for subscription in watchers:
                subscription.put(None)
