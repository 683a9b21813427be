"""Idempotency keys: what a client's key made."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, astuple, dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from services.jobs.store.jobs import JOB, read_now
from services.jobs.store.statements import database_now, execute
from services.jobs.store.tables import IdempotencyKey
from services.mesh.bulk import insert_many, many_rows
from services.mesh.columns import DialectName, dialect_of, now_utc_sql, table_of
from services.mesh.database import Database

KEY = table_of(IdempotencyKey)


@dataclass(frozen=True)
class ClientKey:
    """An idempotency key with its scope."""

    workspace_id: str
    key_id: str
    key: str


@dataclass(frozen=True)
class KeyUse:
    """A key, what it is used for, and how long it stands for that; None: until the job's audio expires."""

    key: ClientKey
    fingerprint: str
    ttl: timedelta | None = None


async def take_keys(session: AsyncSession, wanted: Mapping[str, KeyUse]) -> set[str]:
    """The jobs, by id, whose key was free and now stands for them; wanted: by job id."""
    if not wanted:
        return set()
    now = await read_now(session) if any(use.ttl for use in wanted.values()) else None
    # In one order everywhere, so that two replicas never wait for each other.
    in_order = sorted(wanted.items(), key=lambda item: astuple(item[1].key))
    rows = [_row(job_id, use, now) for job_id, use in in_order]
    dialect = dialect_of(session)
    return set((await execute(session, _take_keys(dialect), many_rows(rows, dialect))).scalars())


def _row(job_id: str, use: KeyUse, now: datetime | None) -> dict[str, Any]:
    expire_time = now + use.ttl if now is not None and use.ttl is not None else None
    return asdict(use.key) | {"job_id": job_id, "fingerprint": use.fingerprint, "expire_time": expire_time}


@cache
def _take_keys(dialect: DialectName) -> ReturningInsert[Any]:
    names = ("workspace_id", "key_id", "key", "job_id", "fingerprint", "expire_time")
    statement = insert_many(KEY, names, dialect, create_time=now_utc_sql(dialect))
    return statement.on_conflict_do_nothing().returning(KEY.c.job_id)


async def read_by_key(database: Database, client_key: ClientKey) -> Row[Any] | None:
    """The job that the key made, with the `fingerprint` it was made from, and whether the key may make another (`key_expired`)."""
    return await database.read_one(_read_by_key(database.dialect), **asdict(client_key))


@cache
def _read_by_key(dialect: DialectName) -> Select[Any]:
    expired = (KEY.c.expire_time.is_not(None) & (KEY.c.expire_time <= now_utc_sql(dialect))).label("key_expired")
    names = ("workspace_id", "key_id", "key")
    return (
        select(JOB, KEY.c.fingerprint, expired)
        .join(JOB, JOB.c.id == KEY.c.job_id)
        .where(*(KEY.c[name] == bindparam(name) for name in names))
    )


async def free_expired_key(session: AsyncSession, client_key: ClientKey) -> None:
    """The key may make a new job, if its time is over."""
    mine = (KEY.c[name] == value for name, value in asdict(client_key).items())
    await execute(session, delete(KEY).where(*mine, KEY.c.expire_time <= database_now(session)))


async def free_expired_keys(session: AsyncSession, limit: int) -> int:
    """The same for keys of every owner; answers how many."""
    over = select(KEY.c.job_id).where(KEY.c.expire_time.is_not(None), KEY.c.expire_time <= database_now(session)).limit(limit)
    expired = delete(KEY).where(KEY.c.job_id.in_(over), KEY.c.expire_time <= database_now(session))
    return len((await execute(session, expired.returning(KEY.c.job_id))).all())


async def limit_key(session: AsyncSession, job_id: str, expire_time: datetime, before: datetime | None = None) -> None:
    """The job's key stands for it until then, where it stood until `before`: None is for ever."""
    stood = KEY.c.expire_time.is_(None) if before is None else KEY.c.expire_time == before
    await execute(session, update(KEY).where(KEY.c.job_id == job_id, stood).values(expire_time=expire_time))


async def free_keys(session: AsyncSession, job_ids: Collection[str]) -> None:
    """The keys of jobs that are deleted, or were never made, may make new ones."""
    await execute(session, delete(KEY).where(KEY.c.job_id.in_(job_ids)))
