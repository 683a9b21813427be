"""Files of inference orders beside their jobs, and what was found in them."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.detection import file_error, file_state
from services.jobs.domain import CANCELLED, PROCESSING, QUEUED, READY
from services.jobs.store.detection_tables import DetectionPartRow, InferenceFileRow
from services.jobs.store.jobs import JOB
from services.jobs.store.statements import execute
from services.jobs.store.windows import WINDOW
from services.mesh.columns import table_of
from steno.jobs.v1.detection_job_pb2 import InferenceFile
from steno.jobs.v1.detector_pb2 import Detection

FILE = table_of(InferenceFileRow)
PART = table_of(DetectionPartRow)


async def insert_file(session: AsyncSession, job_id: str, workspace_id: str, order_id: str, *, rate_percent: int, size_bytes: int) -> None:
    """The job's media is a file of that order."""
    values = {"job_id": job_id, "workspace_id": workspace_id, "order_id": order_id, "rate_percent": rate_percent}
    await execute(session, insert(FILE).values(**values, size_bytes=size_bytes, detection_count=0))


async def read_file(session: AsyncSession, workspace_id: str, order_id: str, job_id: str) -> Row[Any] | None:
    """A file of the order with its job."""
    return (await execute(session, _files(workspace_id, order_id).where(JOB.c.id == job_id))).one_or_none()


async def list_files(session: AsyncSession, workspace_id: str, order_id: str) -> Sequence[Row[Any]]:
    """The files of the order with their jobs, in order of arrival."""
    return (await execute(session, _files(workspace_id, order_id).order_by(JOB.c.create_time, JOB.c.id))).all()


async def count_files(session: AsyncSession, workspace_id: str, order_id: str) -> int:
    """How many files the order has."""
    mine = (FILE.c.workspace_id == workspace_id, FILE.c.order_id == order_id)
    return int((await execute(session, select(func.count()).select_from(FILE).where(*mine))).scalar_one())


def _files(workspace_id: str, order_id: str) -> Select[Any]:
    found = select(JOB, FILE.c.order_id, FILE.c.rate_percent, FILE.c.detection_count).join(FILE, FILE.c.job_id == JOB.c.id)
    return found.where(FILE.c.workspace_id == workspace_id, FILE.c.order_id == order_id)


async def lock_unended(session: AsyncSession, workspace_id: str, order_id: str) -> Sequence[Row[Any]]:
    """Those of the order's files that have not ended, with their jobs, held until the transaction ends."""
    unended = _files(workspace_id, order_id).where(JOB.c.state.in_((QUEUED, PROCESSING))).order_by(JOB.c.id)
    return (await execute(session, unended.with_for_update(of=JOB))).all()


async def cancel_files(session: AsyncSession, workspace_id: str, job_ids: Collection[str], now: Any) -> Sequence[Row[Any]]:
    """The jobs of these files, cancelled, their media ordered to go by the caller, who holds them."""
    mine = (JOB.c.workspace_id == workspace_id, JOB.c.id.in_(list(job_ids)))
    freed = {"lease_until": None, "worker_id": "", "dispatch_time": None, "waiting": READY}
    ended = {"state": CANCELLED, "revision": JOB.c.revision + 1, "complete_time": now, "audio_expire_time": now}
    return (await execute(session, update(JOB).where(*mine).values(**freed, **ended).returning(JOB))).all()


async def read_rate(session: AsyncSession, workspace_id: str, job_id: str) -> int:
    """What the file of a job costs, in percent of a transcription."""
    statement = select(FILE.c.rate_percent).where(FILE.c.workspace_id == workspace_id, FILE.c.job_id == job_id)
    return int((await execute(session, statement)).scalar_one())


async def read_parts(session: AsyncSession, job_id: str, part_count: int) -> Sequence[bytes]:
    """The first parts that the job's claims put, of those that are there. The caller holds the job."""
    put = (WINDOW.c.job_id == job_id, WINDOW.c.index < part_count)
    return (await execute(session, select(WINDOW.c.window).where(*put).order_by(WINDOW.c.index))).scalars().all()


async def keep_parts(session: AsyncSession, workspace_id: str, job_id: str, parts: Sequence[bytes], detection_count: int) -> None:
    """What was found in the file of a job, for ever. The caller holds the job."""
    rows = [{"job_id": job_id, "part": part, "detections": detections} for part, detections in enumerate(parts)]
    if rows:
        await execute(session, insert(PART), rows)
    mine = (FILE.c.job_id == job_id, FILE.c.workspace_id == workspace_id)
    await execute(session, update(FILE).where(*mine).values(detection_count=detection_count))


async def measure_parts(session: AsyncSession, workspace_id: str, order_id: str) -> dict[str, int]:
    """Bytes of what was found in each file of the order in which something was, by id."""
    size_bytes = func.sum(func.length(PART.c.detections)).label("size_bytes")
    sizes = select(PART.c.job_id, size_bytes).join(FILE, FILE.c.job_id == PART.c.job_id)
    mine = (FILE.c.workspace_id == workspace_id, FILE.c.order_id == order_id)
    found = await execute(session, sizes.where(*mine).group_by(PART.c.job_id).order_by(PART.c.job_id))
    return {row.job_id: int(row.size_bytes) for row in found}


async def list_parts(session: AsyncSession, workspace_id: str, job_ids: Collection[str], limit: int) -> Sequence[Row[Any]]:
    """What was found in these files, as `job_id` and `detections`, each file's in order; at most so many parts of all."""
    parts = select(PART).join(FILE, FILE.c.job_id == PART.c.job_id)
    mine = (FILE.c.workspace_id == workspace_id, PART.c.job_id.in_(list(job_ids)))
    statement = parts.where(*mine).order_by(PART.c.job_id, PART.c.part).limit(limit)
    return (await execute(session, statement)).all()


def file_proto(row: Row[Any], detections: Sequence[Detection] = ()) -> InferenceFile:
    """The file as the mesh sees it; row: with its job."""
    file = InferenceFile(
        id=row.id,
        inference_job_id=row.order_id,
        media_id=row.media_id,
        original_filename=row.filename,
        duration_ms=row.audio_duration_ms,
        state=file_state(row.state, row.waiting),
        error=file_error(row.state, row.error_reason, row.error_message),
        detections=detections,
        detection_count=row.detection_count,
    )
    if row.complete_time is not None:
        file.process_time.FromDatetime(row.complete_time)
    return file
