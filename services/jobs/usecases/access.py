"""Whose a job is: who may see and change it, and what everybody else learns."""

from hmac import compare_digest
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import AuthenticationRequired, JobNotFound
from services.jobs.store.jobs import lock_visible, read_visible
from services.mesh.database import Database
from services.mesh.identity import Caller

_GUEST = "guest:"
_USER = "user:"


def is_anonymous(caller: Caller) -> bool:
    """A guest without a wallet: all guests of a key share one owner, so that only a claim token proves a job."""
    return caller.owner.startswith(_GUEST) and not caller.wallet_id


def is_user(caller: Caller) -> bool:
    """Somebody with a proven identity of its own."""
    return caller.owner.startswith(_USER)


def known(caller: Caller) -> Caller:
    """The caller, if it is somebody: what belongs to an owner is not for guests who all are one. Raises AuthenticationRequired."""
    if is_anonymous(caller):
        raise AuthenticationRequired("Only a user, or a guest with a wallet, has detectors.")
    return caller


def owns(caller: Caller, row: Row[Any]) -> bool:
    """Whether the job is the caller's by its identity or by the claim token that it shows."""
    if caller.owner == row.owner and not is_anonymous(caller):
        return True
    return bool(row.claim_digest and caller.claim_digest) and compare_digest(row.claim_digest, caller.claim_digest)


def checked(caller: Caller, row: Row[Any] | None, job_id: str) -> Row[Any]:
    """The row, if it is the caller's. Raises JobNotFound, AuthenticationRequired.

    row: of the caller's workspace; outside of it nobody learns whether there is such a job.
    """
    if row is not None and owns(caller, row):
        return row
    if row is not None and is_anonymous(caller) and not caller.claim_digest:
        raise AuthenticationRequired(job_id=job_id)
    raise JobNotFound(job_id=job_id)


async def read_own(database: Database, caller: Caller, job_id: str) -> Row[Any]:
    """A job of the caller. Raises JobNotFound, AuthenticationRequired."""
    return checked(caller, await read_visible(database, job_id, caller.workspace_id), job_id)


async def lock_own(session: AsyncSession, caller: Caller, job_id: str) -> Row[Any]:
    """A job of the caller, held until the transaction ends, with the database's clock as `now`. Raises as read_own."""
    return checked(caller, await lock_visible(session, job_id, caller.workspace_id), job_id)
