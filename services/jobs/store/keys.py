"""Idempotency keys: what a client's key made."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, astuple, dataclass
from functools import cache
from typing import Any

from sqlalchemy import Row, bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from services.jobs.store.jobs import JOB
from services.jobs.store.statements import execute
from services.jobs.store.tables import IdempotencyKey
from services.mesh.bulk import insert_many, many_rows
from services.mesh.columns import DialectName, dialect_of, now_utc_sql, table_of
from services.mesh.database import Database

KEY = table_of(IdempotencyKey)
_READ_BY_KEY = (
    select(JOB, KEY.c.fingerprint)
    .join(JOB, JOB.c.id == KEY.c.job_id)
    .where(KEY.c.workspace_id == bindparam("workspace_id"), KEY.c.key_id == bindparam("key_id"), KEY.c.key == bindparam("key"))
)


@dataclass(frozen=True)
class ClientKey:
    """An idempotency key with its scope."""

    workspace_id: str
    key_id: str
    key: str


async def take_keys(session: AsyncSession, wanted: Mapping[str, tuple[ClientKey, str]]) -> set[str]:
    """The jobs, by id, whose key was free and now stands for them; wanted: key and fingerprint by job id."""
    if not wanted:
        return set()
    # In one order everywhere, so that two replicas never wait for each other.
    in_order = sorted(wanted.items(), key=lambda item: astuple(item[1][0]))
    rows = [asdict(key) | {"job_id": job_id, "fingerprint": fingerprint} for job_id, (key, fingerprint) in in_order]
    dialect = dialect_of(session)
    return set((await execute(session, _take_keys(dialect), many_rows(rows, dialect))).scalars())


@cache
def _take_keys(dialect: DialectName) -> ReturningInsert[Any]:
    names = ("workspace_id", "key_id", "key", "job_id", "fingerprint")
    statement = insert_many(KEY, names, dialect, create_time=now_utc_sql(dialect))
    return statement.on_conflict_do_nothing().returning(KEY.c.job_id)


async def read_by_key(database: Database, client_key: ClientKey) -> Row[Any] | None:
    """The job that the key made, with the `fingerprint` it was made from."""
    return await database.read_one(_READ_BY_KEY, **asdict(client_key))


async def free_keys(session: AsyncSession, job_ids: Collection[str]) -> None:
    """The keys of jobs that are deleted, or were never made, may make new ones."""
    await execute(session, delete(KEY).where(KEY.c.job_id.in_(job_ids)))
