"""Job rows: insert, read, lock, change, and their only way to the proto."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Row, bindparam, insert, literal, literal_column, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.dml import ReturningInsert

from services.jobs.domain import DETECTION, QUEUED, TRAINING, TRANSCRIPTION, StaleFence
from services.jobs.store.statements import database_now, execute
from services.jobs.store.tables import JobRow
from services.mesh.bulk import insert_many, many_rows
from services.mesh.columns import DialectName, dialect_of, now_utc_sql, table_of
from services.mesh.database import Database
from services.mesh.tracing.spans import current_parent
from steno.jobs.v1.job_pb2 import Job, JobError

JOB = table_of(JobRow)
# Written out, not bound: SQLite takes a partial index only for a condition that it can read.
IS_TRANSCRIPTION = JOB.c.kind == literal_column(str(TRANSCRIPTION))
IS_TRAINING = JOB.c.kind == literal_column(str(TRAINING))

_VISIBLE = select(JOB).where(JOB.c.id == bindparam("job_id"), JOB.c.workspace_id == bindparam("workspace_id"), JOB.c.delete_time.is_(None))
_READ_VISIBLE = _VISIBLE.where(JOB.c.kind == bindparam("kind"))
_PLAIN = (
    "id",
    "workspace_id",
    "owner",
    "state",
    "source",
    "media_id",
    "filename",
    "audio_duration_ms",
    "progress",
    "language",
    "billable_ms",
    "truncated",
    "engine",
    "model",
    "transcript_artefact_id",
    "revision",
    "attempt",
    "title",
    "retention_days",
    "waiting",
    "kind",
)
_ORDERED = (
    "id",
    "workspace_id",
    "owner",
    "source",
    "media_id",
    "media_sha256",
    "filename",
    "audio_duration_ms",
    "held_ms",
    "config",
    "wallet_id",
    "title",
    "url",
    "claim_digest",
    "waiting",
    "retention_days",
    "trace_parent",
)
# Which field of a job its stored config is.
_TASKS = {TRANSCRIPTION: "config", TRAINING: "training", DETECTION: "detection"}
OF_MEDIA = JOB.c.media_id != literal_column("''")
_OPTIONAL = ("speech_detected", "speech_ratio")
_TIMES = ("create_time", "start_time", "complete_time", "audio_expire_time")


async def read_now(session: AsyncSession) -> datetime:
    """What the database's clock says."""
    found: datetime = (await execute(session, select(database_now(session).label("now")))).scalar_one()
    return found


async def insert_jobs(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> Sequence[Row[Any]]:
    """Queued jobs, due at once, in any order; none of media that a job was made from already. Each dict has every ordered column."""
    if not rows:
        return []
    dialect = dialect_of(session)
    # In one order everywhere, so that two replicas never wait for each other.
    in_order = sorted(rows, key=itemgetter("media_id"))
    return (await execute(session, _insert_jobs(dialect), many_rows(in_order, dialect))).all()


@cache
def _insert_jobs(dialect: DialectName) -> ReturningInsert[Any]:
    now = now_utc_sql(dialect)
    statement = insert_many(JOB, _ORDERED, dialect, state=literal(QUEUED, JOB.c.state.type), create_time=now, due_time=now)
    return statement.on_conflict_do_nothing(index_elements=[JOB.c.media_id], index_where=OF_MEDIA).returning(JOB)


async def insert_job(session: AsyncSession, **values: Any) -> Row[Any]:
    """A queued job of any kind, due at once; its media, if any, belongs to no other job."""
    now = database_now(session)
    of_order = {"trace_parent": current_parent(), **values}
    statement = insert(JOB).values(state=QUEUED, create_time=now, due_time=now, **of_order)
    return (await execute(session, statement.returning(JOB))).one()


async def read_job(session: AsyncSession, job_id: str) -> Row[Any] | None:
    """A job in any state, deleted or not, whoever owns it."""
    return (await execute(session, select(JOB).where(JOB.c.id == job_id))).one_or_none()


async def read_visible(database: Database, job_id: str, workspace_id: str, kind: int = TRANSCRIPTION) -> Row[Any] | None:
    """A job of the workspace and of that kind that is not deleted, whoever owns it."""
    return await database.read_one(_READ_VISIBLE, job_id=job_id, workspace_id=workspace_id, kind=kind)


async def read_changed(session: AsyncSession, seen: dict[str, int]) -> tuple[Sequence[Row[Any]], set[str]]:
    """Those of the jobs, by id, whose revision is past the one seen, and the ids of those that are gone."""
    found = await execute(session, select(JOB.c.id, JOB.c.revision).where(JOB.c.id.in_(list(seen))))
    revisions = {row.id: row.revision for row in found}
    gone = seen.keys() - revisions
    changed = [job_id for job_id, revision in revisions.items() if revision > seen[job_id]]
    if not changed:
        return [], gone
    return (await execute(session, select(JOB).where(JOB.c.id.in_(changed)))).all(), gone


async def lock_job(session: AsyncSession, job_id: str) -> Row[Any] | None:
    """The job, held until the transaction ends, with the database's clock as `now`."""
    statement = select(JOB, database_now(session).label("now")).where(JOB.c.id == job_id).with_for_update()
    return (await execute(session, statement)).one_or_none()


async def lock_visible(session: AsyncSession, job_id: str, workspace_id: str, kind: int = TRANSCRIPTION) -> Row[Any] | None:
    """Like lock_job, for a job of the workspace and of that kind that is not deleted."""
    mine = (JOB.c.id == job_id, JOB.c.workspace_id == workspace_id, JOB.c.delete_time.is_(None))
    statement = select(JOB, database_now(session).label("now")).where(*mine, JOB.c.kind == kind).with_for_update()
    return (await execute(session, statement)).one_or_none()


async def change_job(session: AsyncSession, row: Row[Any], **values: Any) -> Row[Any]:
    """Changes what watchers see: the next revision. Raises StaleFence if the row is no longer as it was read."""
    return await touch_job(session, row, revision=row.revision + 1, **values)


async def touch_job(session: AsyncSession, row: Row[Any], **values: Any) -> Row[Any]:
    """Changes what no watcher sees. Raises StaleFence if the row is no longer as it was read."""
    guard = (JOB.c.id == row.id, JOB.c.state == row.state, JOB.c.fence == row.fence)
    changed = (await execute(session, update(JOB).where(*guard).values(**values).returning(JOB))).one_or_none()
    if changed is None:
        raise StaleFence(job_id=row.id)
    return changed


async def hide_job(session: AsyncSession, row: Row[Any]) -> None:
    """The job is deleted as far as its owner can see; whoever does this orders the removal of its media."""
    await execute(session, update(JOB).where(JOB.c.id == row.id).values(delete_time=database_now(session), removal_time=None))


def to_proto(row: Row[Any]) -> Job:
    """The job as the mesh sees it."""
    job = Job(**{name: getattr(row, name) for name in _PLAIN})
    task = getattr(job, _TASKS[row.kind])
    task.ParseFromString(row.config)
    task.SetInParent()
    for name in _OPTIONAL:
        if getattr(row, name) is not None:
            setattr(job, name, getattr(row, name))
    for name in _TIMES:
        if getattr(row, name) is not None:
            getattr(job, name).FromDatetime(getattr(row, name))
    if row.error_reason:
        job.error.CopyFrom(JobError(reason=row.error_reason, message=row.error_message))
    return job
