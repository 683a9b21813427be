"""Claim tokens: what proves that a guest submitted a job, and makes it a user's."""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.claim_key import token_digest
from services.jobs.domain import MAX_CLAIM_TOKENS, READY, AuthenticationRequired
from services.jobs.store.claims import lock_claimable
from services.jobs.store.jobs import to_proto, touch_job
from services.jobs.store.keys import limit_key
from services.jobs.usecases.access import is_user
from services.jobs.usecases.peers import plan_of_caller
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.database import retried
from services.mesh.errors import InvalidField
from services.mesh.identity import Caller
from steno.jobs.v1.job_pb2 import Job

_MAX_TOKEN_CHARACTERS = 128


async def claim_jobs(resources: Resources, caller: Caller, tokens: Sequence[str]) -> int:
    """How many jobs became the calling user's; unknown, used and repeated tokens do not count.

    Raises AuthenticationRequired for anyone but a user, InvalidField.
    """
    if not is_user(caller):
        raise AuthenticationRequired("Only a user can claim jobs.")
    if not 0 < len(tokens) <= MAX_CLAIM_TOKENS:
        raise InvalidField(f"claim_tokens has 1 to {MAX_CLAIM_TOKENS} tokens.", field="claim_tokens")
    digests = {token_digest(token) for token in tokens if len(token) <= _MAX_TOKEN_CHARACTERS}
    plan = await plan_of_caller(resources)
    jobs = await retried(partial(_claim, resources, caller, digests, plan.retention_days))
    for job in jobs:
        resources.changes.publish(job)
    return len(jobs)


async def _claim(resources: Resources, caller: Caller, digests: set[str], retention_days: int) -> list[Job]:
    async with resources.database.transaction() as session:
        rows = await lock_claimable(session, caller.workspace_id, digests)
        jobs = [await _hand_over(session, row, caller, max(row.retention_days, retention_days)) for row in rows]
        fault.point("jobs.claim_jobs.before_commit")
    fault.point("jobs.claim_jobs.after_commit")
    return jobs


async def _hand_over(session: AsyncSession, row: Row[Any], caller: Caller, retention_days: int) -> Job:
    """Audio that went already does not come back with a longer retention. What waits for its media is the user's to pay."""
    values: dict[str, Any] = {"owner": caller.owner, "claim_digest": None}
    if row.audio_expire_time is None:
        values["retention_days"] = retention_days
    elif row.removal_time is not None:
        expire_time = row.complete_time + timedelta(days=retention_days)
        values |= {"retention_days": retention_days, "audio_expire_time": expire_time, "removal_time": expire_time}
        await limit_key(session, row.id, expire_time, before=row.audio_expire_time)
    if row.waiting != READY:
        values["wallet_id"] = caller.wallet_id
    return to_proto(await touch_job(session, row, **values))
