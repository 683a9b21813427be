"""Server-sent events of a job. Source: WHATWG HTML, server-sent events."""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass

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


@dataclass(frozen=True)
class JobEvents:
    """Follows jobs for as long as a client listens."""

    jobs: JobsServiceAsyncStub
    keepalive_seconds: float
    stopping: asyncio.Event

    async def stream(self, job_id: str, after_revision: int, row: Row) -> AsyncGenerator[bytes, None]:
        """Events after a revision, keepalives between them, until the job ends, is deleted, or the gateway stops."""
        seen, failures = after_revision, 0
        while failures < _MAX_FAILURES and not self.stopping.is_set():
            try:
                async with aclosing(self._changes(job_id, seen)) as changes:
                    async for job in changes:
                        if job is None:
                            yield KEEPALIVE
                            continue
                        seen, failures = job.revision, 0
                        yield encode(job, row)
                        if job.state in ENDED:
                            return
            except RemoteError as error:
                if not _passing(error):
                    return
            failures += 1
            delay = _FIRST_DELAY_SECONDS * 2**failures * random.uniform(0.5, 1)  # noqa: S311 - jitter, not a secret
            await wait_or_stop(self.stopping, delay)

    async def _changes(self, job_id: str, seen: int) -> AsyncGenerator[Job | None, None]:
        """The job after each change; None after each silence. Ends with the watch or when the gateway stops."""
        request = WatchJobRequest(job_id=job_id, after_revision=seen)
        watch = aiter(self.jobs.WatchJob(request, timeout=_WATCH_SECONDS))
        stop = asyncio.create_task(self.stopping.wait(), name="events stop")
        change = asyncio.create_task(_next(watch), name="events change")
        try:
            while True:
                done, _ = await asyncio.wait({change, stop}, timeout=self.keepalive_seconds, return_when=asyncio.FIRST_COMPLETED)
                if stop in done:
                    return
                if change not in done:
                    yield None
                    continue
                response = change.result()
                if response is None:
                    return
                yield response.job
                change = asyncio.create_task(_next(watch), name="events change")
        finally:
            stop.cancel()
            change.cancel()
            await asyncio.wait({stop, change}, timeout=1)


async def _next(watch: AsyncIterator[WatchJobResponse]) -> WatchJobResponse | None:
    return await anext(watch, None)


def _passing(error: RemoteError) -> bool:
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
