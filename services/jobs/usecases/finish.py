"""What inference tells: a job's result, or why there is none."""

import random
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import PROCESSING, QUEUED, READY, TRANSCRIPTION, exhausted_error, job_error, retry_delay
from services.jobs.store.jobs import lock_job
from services.jobs.store.removals import order_removal
from services.jobs.store.tables import inbox
from services.jobs.usecases.endings import due_time, fail_job, requeue_job, succeed_job
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.inbox import first_time
from services.mesh.semconv import Attribute
from services.mesh.telemetry import get_logger
from services.mesh.tracing.spans import current_span
from steno.inference.v1.inference_events_pb2 import TranscriptCompleted, WorkFailed
from steno.jobs.v1.job_pb2 import Job


async def complete_work(resources: Resources, consumer: str, event_id: str, result: TranscriptCompleted) -> None:
    """Ends the job with the result, if its claim still counts; else the result is removed from storage. Idempotent."""
    current_span().set(Attribute.JOB_ID, result.job_id)
    job: Job | None = None
    async with resources.database.transaction() as session:
        if await first_time(session, inbox, consumer, event_id):
            row = await lock_job(session, result.job_id)
            if row is not None and row.kind == TRANSCRIPTION and counts(row, result.fence):
                job = await succeed_job(session, row, row.now, result)
            else:
                await discard(session, row, result.job_id, result.workspace_id, result.transcript_artefact_id)
            fault.point("jobs.complete_work.before_commit")
    fault.point("jobs.complete_work.after_commit")
    if job is not None:
        resources.announce(job)
    else:
        resources.removals_waiting.set()


async def fail_work(resources: Resources, consumer: str, event_id: str, failure: WorkFailed) -> None:
    """Ends the job, or queues it again with growing delay while it may still succeed. Idempotent."""
    current_span().set(Attribute.JOB_ID, failure.job_id)
    job: Job | None = None
    async with resources.database.transaction() as session:
        if await first_time(session, inbox, consumer, event_id):
            row = await lock_job(session, failure.job_id)
            if row is not None and counts(row, failure.fence):
                job = await _fail(resources, session, row, failure)
            fault.point("jobs.fail_work.before_commit")
    fault.point("jobs.fail_work.after_commit")
    if job is not None:
        resources.announce(job)


async def _fail(resources: Resources, session: AsyncSession, row: Row[Any], failure: WorkFailed) -> Job | None:
    if not failure.retryable:
        return await fail_job(session, row, row.now, job_error(failure.reason, failure.message))
    if row.attempt >= resources.policy.max_attempts:
        return await fail_job(session, row, row.now, exhausted_error(row.attempt, failure.message))
    if row.state == QUEUED:
        return None
    delay = retry_delay(resources.policy, row.attempt, random.random())  # noqa: S311
    return await requeue_job(session, row, due_time(row, row.now, delay))


def counts(row: Row[Any], fence: int) -> bool:
    """A claim counts until the next one, also when its lease ran out meanwhile."""
    return row.state in (PROCESSING, QUEUED) and row.waiting == READY and fence > 0 and row.fence == fence


async def discard(session: AsyncSession, row: Row[Any] | None, job_id: str, workspace_id: str, artefact_id: str) -> None:
    """Orders the removal of a result that lost, unless it is the job's own. row: of the job; None when it is gone."""
    if not artefact_id or (row is not None and row.transcript_artefact_id == artefact_id):
        return
    workspace_id = row.workspace_id if row is not None else workspace_id
    if not workspace_id:
        get_logger("jobs.finish").warning("losing result of no workspace", job_id=job_id)
        return
    await order_removal(session, "artefact", artefact_id, workspace_id, job_id)
