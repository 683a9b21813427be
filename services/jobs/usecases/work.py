"""What a worker does with a job: take it, keep it, store windows, give it back."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.message import DecodeError
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import (
    ENDED,
    PROCESSING,
    READY,
    TRANSCRIPTION,
    JobAlreadyEnded,
    JobLeased,
    JobNotFound,
    StaleFence,
    check_window,
    exhausted_error,
    raised_progress,
)
from services.jobs.store.announcements import announce_artefact
from services.jobs.store.jobs import change_job, lock_job, read_job, to_proto, touch_job
from services.jobs.store.windows import list_windows, put_window
from services.jobs.usecases.checkpoints import keep_checkpoint
from services.jobs.usecases.endings import due_time, fail_job, requeue_job
from services.jobs.usecases.resources import Resources
from services.mesh import fault, semconv
from services.mesh.errors import InvalidField
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.work_service_pb2 import ExtendLeaseRequest, ListWindowsResponse, PutWindowRequest

MAX_DELAY = timedelta(hours=1)
_WINDOWS_AT_ONCE = 8


@dataclass(frozen=True)
class Claim:
    """A job taken by a worker, for as long as the lease lasts."""

    job: Job
    fence: int
    lease: timedelta


async def claim_work(resources: Resources, job_id: str, worker_id: str) -> Claim:
    """Takes a job; of many claims at one moment one succeeds. Raises JobNotFound, JobAlreadyEnded, JobLeased."""
    if not worker_id:
        raise InvalidField("worker_id is empty.", field="worker_id")
    async with resources.database.transaction() as session:
        row = await _claimable(session, job_id)
        if row.attempt >= resources.policy.max_attempts or row.fence >= resources.policy.max_claims:
            job, fence = await fail_job(session, row, row.now, exhausted_error(max(row.attempt, row.fence))), 0
        else:
            job, fence = await _take(resources, session, row, worker_id), row.fence + 1
        fault.point("jobs.claim_work.before_commit")
    fault.point("jobs.claim_work.after_commit")
    resources.announce(job)
    if job.state in ENDED:
        raise JobAlreadyEnded(job_id=job_id)
    if row.start_time is None and row.kind == TRANSCRIPTION:
        semconv.JOB_WAIT_SECONDS.observe(max(0.0, (row.now - row.create_time).total_seconds()))
    return Claim(job, fence, resources.policy.lease)


async def _claimable(session: AsyncSession, job_id: str) -> Row[Any]:
    row = await lock_job(session, job_id)
    if row is None or row.delete_time is not None:
        raise JobNotFound(job_id=job_id)
    if row.state in ENDED:
        raise JobAlreadyEnded(job_id=job_id)
    if row.waiting != READY or (row.state == PROCESSING and row.lease_until >= row.now):
        raise JobLeased(job_id=job_id)
    return row


async def _take(resources: Resources, session: AsyncSession, row: Row[Any], worker_id: str) -> Job:
    taken = await change_job(
        session,
        row,
        state=PROCESSING,
        fence=row.fence + 1,
        attempt=row.attempt + 1,
        worker_id=worker_id,
        lease_until=row.now + resources.policy.lease,
        start_time=row.start_time or row.now,
        dispatch_time=None,
    )
    return to_proto(taken)


async def extend_lease(resources: Resources, request: ExtendLeaseRequest) -> None:
    """Prolongs the lease; a report that tells something new is a change of the job. Raises StaleFence.

    The artefact that the result will be in is known here before its bytes are there: a worker may die before it tells of them.
    """
    async with resources.database.transaction() as session:
        row = await _held(session, request.job_id, request.fence)
        if request.transcript_artefact_id:
            await announce_artefact(session, row.id, request.transcript_artefact_id)
        news = _news(row, request)
        write = change_job if news else touch_job
        changed = await write(session, row, lease_until=row.now + resources.policy.lease, **news)
        fault.point("jobs.extend_lease.before_commit")
    if news:
        resources.announce(to_proto(changed))


def _news(row: Row[Any], report: ExtendLeaseRequest) -> dict[str, Any]:
    told: dict[str, Any] = {"progress": raised_progress(row.progress, report.progress)}
    for optional in ("speech_detected", "speech_ratio"):
        if report.HasField(optional):
            told[optional] = getattr(report, optional)
    told |= {name: getattr(report, name) for name in ("engine", "model") if getattr(report, name)}
    return {name: value for name, value in told.items() if value != getattr(row, name)}


async def store_window(resources: Resources, request: PutWindowRequest) -> None:
    """Keeps a finished window; one that is new and no gap gives the job its attempts back. Raises StaleFence, InvalidField.

    What a training puts are its epochs, whose metrics are kept for ever; what a detection puts are parts of its result.
    """
    check_window(request.index, request.window)
    async with resources.database.transaction() as session:
        row = await _held(session, request.job_id, request.fence)
        await keep_checkpoint(session, row, request.index, request.window)
        fresh = await put_window(session, row.id, request.index, request.window)
        spent = row.kind == TRANSCRIPTION and _is_gap(request.window)
        attempt = 0 if fresh and not spent else row.attempt
        news = {"progress": raised_progress(row.progress, request.progress), "attempt": attempt}
        news = {name: value for name, value in news.items() if value != getattr(row, name)}
        # A new window is news to those who follow the text.
        write = change_job if news or fresh else touch_job
        changed = await write(session, row, lease_until=row.now + resources.policy.lease, **news)
        fault.point("jobs.store_window.before_commit")
    fault.point("jobs.store_window.after_commit")
    if news or fresh:
        resources.announce(to_proto(changed))


def _is_gap(window: bytes) -> bool:
    """Whether the window holds no text because its tries were spent; one that cannot be read is the worker's affair."""
    try:
        return bool(WindowTranscript.FromString(window).gap_reason)
    except DecodeError:
        return False


async def read_windows(resources: Resources, job_id: str, fence: int) -> AsyncIterator[ListWindowsResponse]:
    """The windows that earlier claims finished, by index. Raises StaleFence."""
    index, limit = -1, _WINDOWS_AT_ONCE
    while limit == _WINDOWS_AT_ONCE:
        async with resources.database.reading() as session:
            _check_fence(await read_job(session, job_id), job_id, fence)
            rows = await list_windows(session, job_id, index, _WINDOWS_AT_ONCE)
        for row in rows:
            yield ListWindowsResponse(index=row.place, window=row.window)
            index = row.place
        limit = len(rows)


async def release_work(resources: Resources, job_id: str, fence: int, delay: timedelta) -> None:
    """Gives a job back; the attempt does not count. Raises StaleFence, InvalidField."""
    if not timedelta(0) <= delay <= MAX_DELAY:
        raise InvalidField("delay is 0 to 1 hour.", field="delay")
    async with resources.database.transaction() as session:
        row = await _held(session, job_id, fence)
        job = await requeue_job(session, row, due_time(row, row.now, delay), attempt=max(0, row.attempt - 1))
        fault.point("jobs.release_work.before_commit")
    fault.point("jobs.release_work.after_commit")
    resources.announce(job)


async def _held(session: AsyncSession, job_id: str, fence: int) -> Row[Any]:
    return _check_fence(await lock_job(session, job_id), job_id, fence)


def _check_fence(row: Row[Any] | None, job_id: str, fence: int) -> Row[Any]:
    if row is None or row.state != PROCESSING or row.fence != fence:
        raise StaleFence(job_id=job_id)
    return row
