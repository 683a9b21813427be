"""Idempotency keys: what a client's key made."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.store.jobs import JOB
from services.jobs.store.statements import database_now, execute
from services.jobs.store.tables import IdempotencyKey
from services.mesh.columns import dialect_of, table_of

KEY = table_of(IdempotencyKey)


@dataclass(frozen=True)
class ClientKey:
    """An idempotency key with its scope."""

    workspace_id: str
    key_id: str
    key: str


async def take_key(session: AsyncSession, client_key: ClientKey, fingerprint: str, job_id: str) -> bool:
    """True when the key was free and now stands for the job."""
    dialect = sqlite if dialect_of(session) == "sqlite" else postgresql
    statement = dialect.insert(KEY).values(
        workspace_id=client_key.workspace_id,
        key_id=client_key.key_id,
        key=client_key.key,
        fingerprint=fingerprint,
        job_id=job_id,
        create_time=database_now(session),
    )
    taken = await execute(session, statement.on_conflict_do_nothing().returning(KEY.c.job_id))
    return taken.one_or_none() is not None


async def read_by_key(session: AsyncSession, client_key: ClientKey) -> Row[Any] | None:
    """The job that the key made, with the `fingerprint` it was made from."""
    statement = select(JOB, KEY.c.fingerprint).join(JOB, JOB.c.id == KEY.c.job_id)
    scope = (KEY.c.workspace_id == client_key.workspace_id, KEY.c.key_id == client_key.key_id)
    return (await execute(session, statement.where(*scope, KEY.c.key == client_key.key))).one_or_none()


async def free_keys(session: AsyncSession, job_id: str) -> None:
    """The keys of a deleted job may make a new one."""
    await execute(session, delete(KEY).where(KEY.c.job_id == job_id))
