"""Server-sent events of a job. Source: WHATWG HTML, server-sent events."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.gateway.domain import Json
from services.gateway.limits import Slots
from services.mesh.lifecycle import wait_or_stop
from services.mesh.status import RemoteError, is_remote
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import WatchJobRequest, WatchJobResponse
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceAsyncStub

KEEPALIVE = b": keepalive\n\n"
ENDED = frozenset({Job.STATE_DONE, Job.STATE_FAILED, Job.STATE_CANCELLED})
_WATCH_SECONDS = 600.0
_MAX_FAILURES = 5
_FIRST_DELAY_SECONDS = 0.2
_NAMES = {Job.STATE_DONE: "done", Job.STATE_FAILED: "failed", Job.STATE_CANCELLED: "cancelled"}
_GOING_ON = ("SERVICE_UNAVAILABLE", "CANCELLED", "UNKNOWN")

Row = Callable[[Job], dict[str, Json]]
T = TypeVar("T")


@dataclass(frozen=True)
class JobEvents:
    """Follows jobs for as long as a client listens."""

    jobs: JobsServiceAsyncStub
    keepalive_seconds: float
    stopping: asyncio.Event

    async def stream(self, job_id: str, after_revision: int, row: Row) -> AsyncGenerator[bytes, None]:
        """Events after a revision, keepalives between them, until the job ends, is deleted, or the gateway stops."""
        async with aclosing(self.changes(job_id, after_revision)) as changes:
            async for job in changes:
                yield KEEPALIVE if job is None else encode(job, row)

    async def changes(self, job_id: str, after_revision: int) -> AsyncGenerator[Job | None, None]:
        """The job after each change past a revision, None after each silence; ends like `stream`."""
        seen, patience = after_revision, Patience(self.stopping)
        while patience.left:
            try:
                async with aclosing(self._watched(job_id, seen)) as changes:
                    async for response in changes:
                        yield None if response is None else response.job
                        if response is None:
                            continue
                        seen = response.job.revision
                        patience.restore()
                        if response.job.state in ENDED:
                            return
            except RemoteError as error:
                if not passing(error):
                    return
            await patience.wait()

    def _watched(self, job_id: str, seen: int) -> AsyncGenerator[WatchJobResponse | None, None]:
        watch = aiter(self.jobs.WatchJob(WatchJobRequest(job_id=job_id, after_revision=seen), timeout=_WATCH_SECONDS))
        return beating(watch, self.keepalive_seconds, self.stopping)


class Patience:
    """Some failures in a row, with growing waits between them."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping
        self._failures = 0

    @property
    def left(self) -> bool:
        """Whether to try again."""
        return self._failures < _MAX_FAILURES and not self._stopping.is_set()

    def restore(self) -> None:
        """Something arrived."""
        self._failures = 0

    async def wait(self) -> None:
        """Count a failure and wait, or until the gateway stops."""
        self._failures += 1
        delay = _FIRST_DELAY_SECONDS * 2**self._failures * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret
        await wait_or_stop(self._stopping, delay)


async def beating(source: AsyncIterator[T], seconds: float, stopping: asyncio.Event) -> AsyncGenerator[T | None, None]:
    """What comes from a source, None after each silence of so long. Ends with the source or when the gateway stops."""
    stop = asyncio.create_task(stopping.wait(), name="events stop")
    change = asyncio.create_task(_next(source), name="events change")
    try:
        while True:
            done, _ = await asyncio.wait({change, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if stop in done:
                return
            if change not in done:
                yield None
                continue
            arrived = change.result()
            if arrived is None:
                return
            yield arrived
            change = asyncio.create_task(_next(source), name="events change")
    finally:
        stop.cancel()
        change.cancel()
        await asyncio.wait({stop, change}, timeout=1)


async def _next(source: AsyncIterator[T]) -> T | None:
    return await anext(source, None)


def passing(error: RemoteError) -> bool:
    """Whether to ask again after it."""
    return any(is_remote(error, reason) for reason in (*_GOING_ON, "DEADLINE_EXCEEDED"))


def encode(job: Job, row: Row) -> bytes:
    """One event: its id is the job's revision, its data the job's status row."""
    data = json.dumps(row(job), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"id: {job.revision}\nevent: {_NAMES.get(job.state, 'progress')}\ndata: {data}\n\n".encode()


def last_event_id(header: str) -> int:
    """The revision in Last-Event-ID; anything else starts from now."""
    return int(header) if header.isascii() and header.isdigit() and len(header) <= 18 else 0


class EventStream:
    """The answer that carries events; it holds a slot for as long as it lasts."""

    def __init__(self, slots: Slots, body: AsyncGenerator[bytes, None]) -> None:
        self._slots = slots
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        with self._slots.taken():
            async with aclosing(self._body):
                await StreamingResponse(self._body, headers=headers, media_type="text/event-stream")(scope, receive, send)
