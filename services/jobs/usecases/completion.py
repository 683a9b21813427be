"""Ending a job's wait for its client's upload: by its completion, or because it took too long."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Row

from services.jobs.domain import CANCELLED, FAILED, UPLOAD, JobAlreadyEnded, UploadExpired, job_error
from services.jobs.store.jobs import to_proto
from services.jobs.store.pending import list_late_uploads
from services.jobs.usecases.access import read_own
from services.jobs.usecases.arrival import Arrival, hold_for, make_ready, refuse, refuses_job, told
from services.jobs.usecases.endings import fail_job
from services.jobs.usecases.peers import plan_of_caller, reaching
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.identity import Caller, acting_for
from services.mesh.status import RemoteError, is_remote
from steno.jobs.v1.job_pb2 import Job
from steno.storage.v1.media_pb2 import Media
from steno.storage.v1.storage_service_pb2 import CommitUploadRequest

Hold = Callable[[Resources, str, Media], Awaitable[Arrival]]


async def complete_upload(resources: Resources, caller: Caller, job_id: str) -> Job:
    """The job, waiting for a worker; idempotent. A refusal of the media or for want of credit also ends the job.

    Raises JobNotFound, AuthenticationRequired, JobAlreadyEnded, UploadExpired, ServiceUnavailable, and storage's and billing's refusals.
    """
    await read_own(resources.database, caller, job_id)
    # Two at a time would both have the media probed, and one could take the other's refusal for missing media.
    async with resources.completions.of(job_id):
        row = await read_own(resources.database, caller, job_id)
        if row.waiting != UPLOAD:
            return _after(row)
        # The job's owner pays, whoever proves that the job is theirs.
        with acting_for(row.workspace_id, row.owner, row.wallet_id):
            arrival = await take_in(resources, row, hold_for)
            job = await make_ready(resources, row, arrival)
        return job or _after(await read_own(resources.database, caller, job_id))


def _after(row: Row[Any]) -> Job:
    if row.state == FAILED and row.error_reason == UploadExpired.reason():
        raise UploadExpired(job_id=row.id)
    if row.state in (FAILED, CANCELLED):
        raise JobAlreadyEnded(job_id=row.id)
    return to_proto(row)


async def take_in(resources: Resources, row: Row[Any], hold: Hold) -> Arrival:
    """The uploaded media of a job, probed and with its hold; a refusal of it or for want of credit also ends the job.

    Raises UploadExpired, ServiceUnavailable, and storage's and billing's refusals.
    """
    plan = await plan_of_caller(resources)
    request = CommitUploadRequest(media_id=row.media_id, max_duration_ms=plan.max_duration_ms)
    try:
        with reaching("storage"):
            timeout = resources.policy.commit_deadline.total_seconds()
            media = (await resources.storage.CommitUpload(request, timeout=timeout)).media
        fault.point("jobs.complete_upload.after_storage")
        return await hold(resources, row.id, media)
    except RemoteError as error:
        if is_remote(error, "MEDIA_NOT_FOUND"):
            await refuse(resources, row, job_error(UploadExpired.reason(), UploadExpired().message))
            raise UploadExpired(job_id=row.id) from error
        if refuses_job(error):
            await refuse(resources, row, told(error))
        raise


async def expire_uploads(resources: Resources) -> int:
    """Fails jobs whose upload was not completed in time; answers how many."""
    error = job_error(UploadExpired.reason(), UploadExpired().message)
    async with resources.database.transaction() as session:
        late = await list_late_uploads(session, resources.policy.upload_age, resources.policy.batch_size)
        jobs = [await fail_job(session, row, row.now, error) for row in late]
        if jobs:
            fault.point("jobs.expire_uploads.before_commit")
    for job in jobs:
        resources.announce(job)
    return len(jobs)
