"""How a job ends, or goes back to the queue: row, checkpoints and event in the caller's transaction."""

from datetime import datetime, timedelta
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import CANCELLED, DONE, FAILED, PROCESSING, QUEUED, READY, TRANSCRIPTION
from services.jobs.store.announcements import take_announced
from services.jobs.store.jobs import change_job, to_proto, touch_job
from services.jobs.store.keys import limit_key
from services.jobs.store.removals import order_removal
from services.jobs.store.tables import outbox
from services.jobs.store.windows import delete_windows
from services.mesh.outbox import publish_later
from services.mesh.streams import event_subject
from services.mesh.tracing.spans import current_parent
from steno.inference.v1.inference_events_pb2 import TranscriptCompleted
from steno.jobs.v1.job_pb2 import Job, JobError
from steno.jobs.v1.jobs_events_pb2 import JobCancelled, JobFailed, JobSucceeded

_FREE: dict[str, Any] = {"lease_until": None, "worker_id": "", "dispatch_time": None, "waiting": READY}


async def succeed_job(session: AsyncSession, row: Row[Any], now: datetime, result: TranscriptCompleted) -> Job:
    """Done. What is charged never exceeds what is on hold."""
    billable_ms = max(0, min(result.billable_ms, row.held_ms))
    return await finish_job(
        session,
        row,
        now,
        billable_ms,
        language=result.language,
        speech_detected=result.speech_detected,
        speech_ratio=result.speech_ratio,
        audio_duration_ms=result.audio_duration_ms,
        truncated=result.truncated,
        engine=result.engine,
        model=result.model,
        transcript_artefact_id=result.transcript_artefact_id,
    )


async def finish_job(session: AsyncSession, row: Row[Any], now: datetime, billable_ms: int, **values: Any) -> Job:
    """Done, with a result of any kind, and charged so much of what is on hold."""
    event = JobSucceeded(job_id=row.id, workspace_id=row.workspace_id, billable_ms=billable_ms)
    taken = await _taken(session, row)
    return await _end(session, taken, event, now, state=DONE, progress=1.0, billable_ms=billable_ms, **values)


async def fail_job(session: AsyncSession, row: Row[Any], now: datetime, error: JobError) -> Job:
    """Failed, uncharged. The media of a job that has been waiting for it goes at once."""
    event = JobFailed(job_id=row.id, workspace_id=row.workspace_id, error=error, without_media=row.waiting != READY)
    reason: dict[str, Any] = {"error_reason": error.reason, "error_message": error.message}
    if row.waiting == READY:
        return await _end(session, await _taken(session, row), event, now, state=FAILED, **reason)
    await order_removal(session, "media", row.media_id, row.workspace_id, row.id)
    return await _end(session, row, event, now, keep_media=False, state=FAILED, **reason)


async def cancel_job(session: AsyncSession, row: Row[Any], now: datetime) -> Job:
    """Cancelled, uncharged, its media ordered to go; whoever works on it is refused from now on."""
    event = JobCancelled(job_id=row.id, workspace_id=row.workspace_id, without_media=row.waiting != READY)
    await order_removal(session, "media", row.media_id, row.workspace_id, row.id)
    return await _end(session, row, event, now, keep_media=False, state=CANCELLED)


async def requeue_job(session: AsyncSession, row: Row[Any], due_time: datetime, **values: Any) -> Job:
    """Waits for a worker again, from that time on."""
    return to_proto(await change_job(session, row, state=QUEUED, due_time=due_time, **_FREE, **values))


def due_time(row: Row[Any], now: datetime, delay: timedelta) -> datetime:
    """When a job that was given back may be handed out; without a delay it keeps its place in the queue."""
    return now + delay if delay > timedelta(0) else row.create_time


async def _taken(session: AsyncSession, row: Row[Any]) -> Row[Any]:
    """A result can arrive after its lease ran out and before the next claim: the job is taken up again first."""
    return await touch_job(session, row, state=PROCESSING) if row.state == QUEUED else row


async def _remove_losers(session: AsyncSession, ended: Row[Any]) -> None:
    """Of the results that claims announced, all but the job's own: whoever made them may have died before telling of them."""
    for artefact_id in await take_announced(session, ended.id) - {ended.transcript_artefact_id}:
        await order_removal(session, "artefact", artefact_id, ended.workspace_id, ended.id)


async def _end(session: AsyncSession, row: Row[Any], event: Message, now: datetime, *, keep_media: bool = True, **values: Any) -> Job:
    # Postgres tells the time at which a statement began, and this one may have waited until a claim let go of the row.
    now = max(now, row.start_time or now)
    expire_time = now + timedelta(days=row.retention_days)
    times = {"complete_time": now, "audio_expire_time": expire_time, "removal_time": expire_time if keep_media else None}
    # A training has no media to keep.
    ended = await change_job(session, row, **_FREE, **(times if row.media_id else {"complete_time": now}), **values)
    await limit_key(session, row.id, expire_time)
    # Of a job that is done, those who follow its text may still have to read the last ones.
    if ended.state != DONE:
        await delete_windows(session, row.id)
    await _remove_losers(session, ended)
    if may_be_held(row):
        await _tell(session, event, row.trace_parent)
    return to_proto(ended)


def may_be_held(row: Row[Any]) -> bool:
    """Whether billing is to hear of the job's end; row: as it was before. Work that is free has nothing on hold."""
    return bool(row.kind == TRANSCRIPTION or row.held_ms > 0 or row.waiting != READY)


async def _tell(session: AsyncSession, event: Message, job_parent: str) -> None:
    """Within the trace of whoever ended the job; within the job's own where no request or message did."""
    await publish_later(session, outbox, event_subject("jobs", type(event)), event, trace_parent=current_parent() or job_parent)
