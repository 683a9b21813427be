"""Fetching the media of jobs that were submitted with a URL, each by one fetcher at a time."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import grpc
from sqlalchemy import Row

from services.jobs.domain import ENDED, StaleFence, exhausted_error, job_error, retry_delay
from services.jobs.store.jobs import lock_job, read_job, read_now, touch_job
from services.jobs.store.pending import Owner, any_fetch_due, next_fetch
from services.jobs.store.removals import order_removal
from services.jobs.usecases.arrival import Arrival, hold_for, make_ready, refuse, told
from services.jobs.usecases.peers import plan_of_caller
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.errors import ServiceUnavailable
from services.mesh.identity import acting_for
from services.mesh.semconv import Attribute, Step
from services.mesh.status import RemoteError
from services.mesh.telemetry import get_logger
from services.mesh.tracing.spans import below
from steno.storage.v1.media_pb2 import Media
from steno.storage.v1.storage_service_pb2 import FetchMediaRequest

# A service that restarts, perhaps because of this media; and one that has no room now, which is no fault of the media.
_PASSING_CODES = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
_BUSY_REASONS = frozenset({"OVERLOADED", "STORE_FULL"})
_TOO_SLOW = job_error("FETCH_FAILED", "The media could not be fetched in time.")


async def fetch_next(resources: Resources, stopping: asyncio.Event, served: Owner | None) -> Owner | None:
    """Fetches the media of the job that is next, until it ends, is taken over, or the service stops.

    served: whose media was fetched last. Answers whose it was; None when none is due.
    """
    if not await any_fetch_due(resources.database):
        return None
    row = await _take(resources, served)
    if row is None:
        return None
    fault.point("jobs.fetch.after_take")
    with below(row.trace_parent, Step.FETCH, attributes={Attribute.JOB_ID: row.id}):
        await _serve(resources, row, stopping)
    fault.point("jobs.fetch.after_conclude")
    return Owner(row.workspace_id, row.owner)


async def _serve(resources: Resources, row: Row[Any], stopping: asyncio.Event) -> None:
    if row.attempt > resources.policy.max_attempts or row.fence > resources.policy.max_claims:
        await refuse(resources, row, exhausted_error(max(row.attempt, row.fence) - 1))
        return
    fetching = asyncio.create_task(_fetch(resources, row), name=f"jobs-fetch-{row.id}")
    try:
        held = await _hold(resources, row, fetching, stopping)
    finally:
        await _end(fetching)
    fault.point("jobs.fetch.before_conclude")
    await _conclude(resources, row, fetching, held=held)


async def _take(resources: Resources, served: Owner | None) -> Row[Any] | None:
    """The next job, with a new fence and a lease: `due_time` is when another fetcher may take it."""
    async with resources.database.transaction() as session:
        row = await next_fetch(session, served)
        if row is None:
            return None
        lease_until = row.now + resources.policy.lease
        return await touch_job(session, row, fence=row.fence + 1, attempt=row.attempt + 1, due_time=lease_until)


async def _fetch(resources: Resources, row: Row[Any]) -> Arrival:
    with acting_for(row.workspace_id, row.owner, row.wallet_id):
        return await hold_for(resources, row.id, await _download(resources, row))


async def _download(resources: Resources, row: Row[Any]) -> Media:
    plan = await plan_of_caller(resources)
    request = FetchMediaRequest(
        media_id=row.media_id, url=row.url, max_size_bytes=plan.max_upload_bytes, max_duration_ms=plan.max_duration_ms
    )
    answer = await resources.storage.FetchMedia(request, timeout=resources.policy.fetch_deadline.total_seconds())
    return answer.media


async def _hold(resources: Resources, row: Row[Any], fetching: asyncio.Task[Arrival], stopping: asyncio.Event) -> bool:
    """Keeps the job while it is fetched; False when it is the fetcher's no more."""
    look_seconds = min(resources.policy.fetch_look, resources.policy.lease / 3).total_seconds()
    renew_time = asyncio.get_running_loop().time() + resources.policy.lease.total_seconds() / 3
    while not stopping.is_set():
        await asyncio.wait({fetching}, timeout=look_seconds)
        if fetching.done():
            return True
        if not await _is_held(resources, row):
            return False
        if asyncio.get_running_loop().time() >= renew_time:
            if not await _postpone(resources, row, resources.policy.lease):
                return False
            renew_time = asyncio.get_running_loop().time() + resources.policy.lease.total_seconds() / 3
    return True


async def _is_held(resources: Resources, row: Row[Any]) -> bool:
    async with resources.database.reading() as session:
        current = await read_job(session, row.id)
    return current is not None and bool(current.fence == row.fence and current.waiting == row.waiting)


async def _postpone(resources: Resources, row: Row[Any], delay: timedelta, **values: Any) -> bool:
    """No fetcher takes the job for so long; False when it is another fetcher's by now, or has ended."""
    try:
        async with resources.database.transaction() as session:
            await touch_job(session, row, due_time=await read_now(session) + delay, **values)
    except StaleFence:
        return False
    return True


async def _end(fetching: asyncio.Task[Arrival]) -> None:
    fetching.cancel()
    await asyncio.wait({fetching})


async def _conclude(resources: Resources, row: Row[Any], fetching: asyncio.Task[Arrival], *, held: bool) -> None:
    if fetching.cancelled():
        await (_give_back(resources, row) if held else _remove_remnants(resources, row))
        return
    error = fetching.exception()
    if error is None:
        await make_ready(resources, row, fetching.result())
    elif isinstance(error, ServiceUnavailable):
        # Billing does not answer: whatever the media is, that is no fault of it.
        await _wait_uncounted(resources, row)
    elif isinstance(error, RemoteError):
        await _take_refusal(resources, row, error)
    else:
        raise error


async def _take_refusal(resources: Resources, row: Row[Any], error: RemoteError) -> None:
    get_logger("jobs.fetch").info("media not fetched", job_id=row.id, reason=error.reason_name)
    if error.reason_name in _BUSY_REASONS:
        await _wait_uncounted(resources, row)
    elif error.code in _PASSING_CODES:
        await _try_later(resources, row, error.message)
    elif error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        await refuse(resources, row, _TOO_SLOW)
    else:
        await refuse(resources, row, told(error))


async def _wait_uncounted(resources: Resources, row: Row[Any]) -> None:
    """Another time, without counting this one."""
    await _postpone(resources, row, retry_delay(resources.policy, row.fence, random.random()), attempt=row.attempt - 1)  # noqa: S311


async def _try_later(resources: Resources, row: Row[Any], message: str) -> None:
    if row.attempt >= resources.policy.max_attempts:
        await refuse(resources, row, exhausted_error(row.attempt, message))
        return
    await _postpone(resources, row, retry_delay(resources.policy, row.attempt, random.random()))  # noqa: S311


async def _give_back(resources: Resources, row: Row[Any]) -> None:
    """The service stops: another fetcher goes on at once, and the attempt does not count."""
    async with resources.database.transaction() as session:
        await touch_job(session, row, due_time=row.create_time, attempt=row.attempt - 1)


async def _remove_remnants(resources: Resources, row: Row[Any]) -> None:
    """Of a job that ended while its media was on its way, the removal may have come first."""
    async with resources.database.transaction() as session:
        current = await lock_job(session, row.id)
        if current is None or current.state in ENDED:
            await order_removal(session, "media", row.media_id, row.workspace_id, row.id)
    resources.removals_waiting.set()
