"""Ending a job by its owner's hand, and removing what is left of it."""

from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import ENDED, JobAlreadyEnded
from services.jobs.store.jobs import hide_job
from services.jobs.store.keys import free_keys
from services.jobs.store.removals import order_removal
from services.jobs.store.windows import delete_windows
from services.jobs.usecases.access import lock_own
from services.jobs.usecases.endings import cancel_job
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.identity import Caller
from steno.jobs.v1.job_pb2 import Job


async def cancel(resources: Resources, caller: Caller, job_id: str) -> Job:
    """Stops a job that has not ended. Raises JobNotFound, AuthenticationRequired, JobAlreadyEnded."""
    async with resources.database.transaction() as session:
        row = await lock_own(session, caller, job_id)
        if row.state in ENDED:
            raise JobAlreadyEnded(job_id=job_id)
        job = await cancel_job(session, row, row.now)
        fault.point("jobs.cancel.before_commit")
    fault.point("jobs.cancel.after_commit")
    resources.announce(job)
    return job


async def delete(resources: Resources, caller: Caller, job_id: str) -> None:
    """Cancels a job in flight; an ended one is gone for its owner at once, and its bytes soon after.

    Raises JobNotFound, AuthenticationRequired.
    """
    job: Job | None = None
    async with resources.database.transaction() as session:
        row = await lock_own(session, caller, job_id)
        if row.state in ENDED:
            await _remove(session, row)
        else:
            job = await cancel_job(session, row, row.now)
        fault.point("jobs.delete.before_commit")
    fault.point("jobs.delete.after_commit")
    if job is not None:
        resources.announce(job)
    resources.removals_waiting.set()


async def _remove(session: AsyncSession, row: Row[Any]) -> None:
    await hide_job(session, row)
    await free_keys(session, [row.id])
    await delete_windows(session, row.id)
    await order_removal(session, "media", row.media_id, row.workspace_id, row.id)
    if row.transcript_artefact_id:
        await order_removal(session, "artefact", row.transcript_artefact_id, row.workspace_id, row.id)
