"""Waiting for a job while the client holds its connection. The connection may drop: the job goes on."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from services.gateway.domain import Reason, Refusal
from services.gateway.events import ENDED, JobEvents
from services.gateway.limits import Slots
from steno.jobs.v1.job_pb2 import Job

T = TypeVar("T")
_CLEAN_UP_SECONDS = 1.0
# Reasons of failed jobs that are the request's fault, with the parameter at fault.
_CLIENT_FAULTS = {
    "EMPTY_MEDIA": "file",
    "UNSUPPORTED_MEDIA": "file",
    "BROKEN_MEDIA": "file",
    "MEDIA_TOO_LONG": "file",
    "MEDIA_TOO_LARGE": "file",
    "MEDIA_UNPROCESSABLE": "file",
    "LANGUAGE_NOT_SUPPORTED": "language",
    "TASK_NOT_SUPPORTED": "model",
}


@dataclass(frozen=True)
class Waits:
    """Waits for jobs to end, a bounded number of requests for a bounded time."""

    events: JobEvents
    slots: Slots
    wait_seconds: float

    async def done(self, request: Request, job: Job) -> Job:
        """The job once it is done. Raises Refusal when it ends otherwise or late, ClientDisconnect when nobody waits any more."""
        if job.state not in ENDED:
            with self.slots.taken():
                job = await _unless_gone(request, self._ended(job))
        check_done(job)
        return job

    async def _ended(self, job: Job) -> Job:
        """As it ended, or as it was seen last."""
        try:
            async with asyncio.timeout(self.wait_seconds), aclosing(self.events.changes(job.id, 0)) as changes:
                async for change in changes:
                    job = change or job
        except TimeoutError:
            return job
        return job


def check_done(job: Job) -> None:
    """Raises Refusal for a job that is not done: what is wrong with it."""
    if job.state == Job.STATE_FAILED:
        raise _failure(job)
    if job.state == Job.STATE_CANCELLED:
        raise Refusal(Reason.JOB_CANCELLED)
    if job.state != Job.STATE_DONE:
        raise Refusal(Reason.NOT_READY)


def _failure(job: Job) -> Refusal:
    field = _CLIENT_FAULTS.get(job.error.reason)
    return Refusal(Reason.BAD_FIELD if field else Reason.JOB_FAILED, job.error.message or job.error.reason, field=field or "")


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of some work, which is given up when the client goes. Raises ClientDisconnect."""
    working = asyncio.create_task(work, name="openai wait")
    gone = asyncio.create_task(_gone(request), name="openai client")
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.wait({working, gone}, timeout=_CLEAN_UP_SECONDS)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
