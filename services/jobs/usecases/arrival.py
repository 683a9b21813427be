"""The media of a waiting job has come, or will not: hold and job follow, or the job fails with the reason."""

from dataclasses import dataclass
from typing import Any

import grpc
from sqlalchemy import Row

from services.jobs.detection import charged_ms
from services.jobs.domain import ENDED, READY, job_error
from services.jobs.store.jobs import change_job, lock_job, to_proto
from services.jobs.store.removals import order_removal
from services.jobs.usecases.endings import fail_job
from services.jobs.usecases.intake import held_ms
from services.jobs.usecases.peers import CREDIT_REASONS, plan_of_caller, release, reserve
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.status import RemoteError
from steno.jobs.v1.job_pb2 import Job, JobError
from steno.storage.v1.media_pb2 import Media


@dataclass(frozen=True)
class Arrival:
    """Ready media with its hold, 0 for none; `retention_days` is what the plan of who pays grants."""

    media: Media
    held_ms: int
    retention_days: int


async def hold_for(resources: Resources, job_id: str, media: Media) -> Arrival:
    """Puts credit on hold for media that has come. Raises billing's refusals, ServiceUnavailable."""
    return await _hold(resources, job_id, media, held_ms(media))


async def hold_share(resources: Resources, job_id: str, media: Media, *, rate_percent: int) -> Arrival:
    """The same for media that a detector is to be run over; nothing is held for what is free."""
    amount_ms = charged_ms(media.probe.duration_ms, rate_percent)
    if amount_ms:
        return await _hold(resources, job_id, media, amount_ms)
    plan = await plan_of_caller(resources)
    return Arrival(media, 0, plan.retention_days)


async def _hold(resources: Resources, job_id: str, media: Media, amount_ms: int) -> Arrival:
    fault.point("jobs.arrival.before_reserve")
    plan = await reserve(resources, job_id, amount_ms)
    fault.point("jobs.arrival.after_reserve")
    return Arrival(media, amount_ms, plan.retention_days)


def refuses_job(error: RemoteError) -> bool:
    """Whether the error is about the media or the credit, so that the same job cannot succeed."""
    return error.code is grpc.StatusCode.INVALID_ARGUMENT or error.reason_name in CREDIT_REASONS


async def make_ready(resources: Resources, row: Row[Any], arrival: Arrival) -> Job | None:
    """The job, now waiting for a worker; None, with the hold given back, when it ended or was taken over meanwhile.

    row: as it was read when the wait for the media began.
    """
    async with resources.database.transaction() as session:
        current = await lock_job(session, row.id)
        if current is not None and _still_waits(current, row):
            job = to_proto(await change_job(session, current, **_facts(current, arrival)))
            fault.point("jobs.make_ready.before_commit")
        else:
            job = None
            if current is None or current.state in ENDED:
                await order_removal(session, "media", row.media_id, row.workspace_id, row.id)
    fault.point("jobs.make_ready.after_commit")
    if job is not None:
        resources.announce(job)
    elif current is None or current.state in ENDED:
        resources.removals_waiting.set()
        if arrival.held_ms:
            await release(resources, row.id)
    return job


async def refuse(resources: Resources, row: Row[Any], error: JobError) -> Job | None:
    """The job, now failed; None when it ended or was taken over meanwhile."""
    async with resources.database.transaction() as session:
        current = await lock_job(session, row.id)
        if current is None or not _still_waits(current, row):
            return None
        job = await fail_job(session, current, current.now, error)
        fault.point("jobs.refuse.before_commit")
    fault.point("jobs.refuse.after_commit")
    resources.announce(job)
    return job


def told(error: RemoteError) -> JobError:
    """A refusal as the job's error."""
    return job_error(error.reason_name, error.message)


def _still_waits(current: Row[Any], row: Row[Any]) -> bool:
    return current.waiting == row.waiting != READY and bool(current.fence == row.fence)


def _facts(row: Row[Any], arrival: Arrival) -> dict[str, Any]:
    media = arrival.media
    return {
        "waiting": READY,
        "media_sha256": media.sha256,
        "audio_duration_ms": media.probe.duration_ms,
        "held_ms": arrival.held_ms,
        "retention_days": max(row.retention_days, arrival.retention_days),
        "attempt": 0,
        "due_time": row.create_time,
    }
