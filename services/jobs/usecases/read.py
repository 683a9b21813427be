"""Reading jobs: one, by key, pages, and following one."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.jobs.domain import ENDED, JobNotFound, page_size
from services.jobs.store.claims import read_claimable
from services.jobs.store.jobs import read_changed, to_proto
from services.jobs.store.keys import read_by_key
from services.jobs.store.listing import Query, count_jobs, list_jobs
from services.jobs.usecases.access import is_anonymous, read_own
from services.jobs.usecases.create import claim_token, client_key
from services.jobs.usecases.pages import check_skip, check_states, read_token, write_token
from services.jobs.usecases.resources import Resources
from services.mesh.errors import InvalidField
from services.mesh.identity import Caller
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import ListJobsRequest

# How this service names itself where it vouches for an API key that came without a caller token.
_SERVICE = "jobs"


@dataclass(frozen=True)
class Page:
    """Some of the caller's jobs, and how many there are in all."""

    jobs: list[Job]
    next_page_token: str
    total_size: int


async def get_job(resources: Resources, caller: Caller, job_id: str) -> Job:
    """One job of the caller. Raises JobNotFound, AuthenticationRequired."""
    return to_proto(await read_own(resources.database, caller, job_id))


@dataclass(frozen=True)
class Found:
    """What an idempotency key made, from which media, and its claim token."""

    job: Job
    media_sha256: str
    claim_token: str


async def find_job(resources: Resources, caller: Caller, key: str) -> Found:
    """What the caller's idempotency key made, unless its time is over. Raises JobNotFound, InvalidIdempotencyKey.

    Guests of an application share its keys, so that one of them could guess another's: only the gateway, which shows what is
    found to whoever sends the same request again, may ask for them.
    """
    sought = client_key(caller, key)
    if sought is None:
        raise InvalidField("idempotency_key is empty.", field="idempotency_key")
    if is_anonymous(caller) and caller.service == _SERVICE:
        raise JobNotFound()
    row = await read_by_key(resources.database, sought)
    if row is None or row.key_expired or row.owner != caller.owner:
        raise JobNotFound()
    return Found(to_proto(row), row.media_sha256, claim_token(resources, caller, row))


async def list_page(resources: Resources, caller: Caller, request: ListJobsRequest) -> Page:
    """A page of the caller's jobs, newest first. Raises InvalidField, InvalidPageToken."""
    size, skip = page_size(request.page_size), check_skip(request.skip)
    query = Query(caller.workspace_id, caller.owner, check_states(request.states))
    query = read_token(query, request.page_token)
    if is_anonymous(caller):
        return await _proven_page(resources, caller, query, skip)
    async with resources.database.reading() as session:
        total = await count_jobs(session, query)
        rows = await list_jobs(session, query, size + 1, skip) if skip < total else []
    more = len(rows) > size
    token = write_token(query, rows[size - 1].create_time, rows[size - 1].id) if more else ""
    return Page([to_proto(row) for row in rows[:size]], token, total)


async def _proven_page(resources: Resources, caller: Caller, query: Query, skip: int) -> Page:
    """Of all guests' jobs the one that the claim token proves; nothing without a token."""
    if not caller.claim_digest:
        return Page([], "", 0)
    async with resources.database.reading() as session:
        rows = await read_claimable(session, caller.workspace_id, caller.claim_digest, query.states)
    return Page([to_proto(row) for row in rows[skip:]], "", len(rows))


async def watch_job(resources: Resources, caller: Caller, job_id: str, after_revision: int) -> AsyncIterator[Job]:
    """The job now and after each change, until it has ended; only revisions past the one given.

    Raises JobNotFound, AuthenticationRequired.
    """
    with resources.changes.subscribe(job_id) as subscription:
        job = await get_job(resources, caller, job_id)
        while True:
            if job.revision > after_revision:
                yield job
                after_revision = job.revision
            if job.state in ENDED:
                return
            job = await subscription.next()


async def poll_watched(resources: Resources) -> None:
    """Tells watchers what other replicas changed."""
    seen = resources.changes.seen()
    if not seen:
        return
    async with resources.database.reading() as session:
        for start in range(0, len(ids := sorted(seen)), resources.policy.batch_size):
            batch = ids[start : start + resources.policy.batch_size]
            rows, gone = await read_changed(session, {job_id: seen[job_id] for job_id in batch})
            for row in rows:
                resources.changes.publish(to_proto(row))
            for job_id in gone:
                resources.changes.lose(job_id)
