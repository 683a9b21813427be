"""Inference orders: their rows, what their files add up to, and their only way to the proto."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.detection import ENDED_STATES, FileCounts, Place, order_state
from services.jobs.domain import DONE, PROCESSING, QUEUED, READY, job_error
from services.jobs.store.detection_tables import InferenceOrderRow
from services.jobs.store.inference_files import FILE
from services.jobs.store.jobs import JOB
from services.jobs.store.statements import database_now, execute
from services.mesh.columns import table_of
from steno.jobs.v1.detection_job_pb2 import DETECTION_STATE_FAILED, InferenceJob
from steno.jobs.v1.detector_pb2 import InferenceConfig

ORDER = table_of(InferenceOrderRow)


@dataclass
class Sums:
    """What the files of an order add up to; reason: of one that failed, empty when none did."""

    files: FileCounts = field(default_factory=FileCounts)
    detection_count: int = 0
    start_time: datetime | None = None
    complete_time: datetime | None = None
    reason: str = ""

    def add(self, group: Row[Any]) -> None:
        """The files of one state."""
        count = int(group.file_count)
        if group.announced:
            self.files.announced += count
        elif group.state in (QUEUED, PROCESSING):
            self.files.active += count
        elif group.state == DONE:
            self.files.completed += count
        else:
            self.files.failed += count
            self.reason = self.reason or group.reason
        self.detection_count += int(group.detection_count)
        self.start_time = min(filter(None, (self.start_time, group.start_time)), default=None)
        self.complete_time = max(filter(None, (self.complete_time, group.complete_time)), default=None)


async def insert_order(
    session: AsyncSession, order_id: str, workspace_id: str, owner: str, detector_id: str, config: InferenceConfig
) -> Row[Any]:
    """A new order without files."""
    values = {"id": order_id, "workspace_id": workspace_id, "owner": owner, "detector_id": detector_id}
    statement = insert(ORDER).values(**values, config=config.SerializeToString(), create_time=database_now(session))
    return (await execute(session, statement.returning(ORDER))).one()


async def read_order(session: AsyncSession, workspace_id: str, owner: str, order_id: str, *, hold: bool = False) -> Row[Any] | None:
    """An order of the owner; `hold` keeps it as it is until the transaction ends."""
    statement = _owned(workspace_id, owner).where(ORDER.c.id == order_id)
    return (await execute(session, statement.with_for_update() if hold else statement)).one_or_none()


async def list_orders(session: AsyncSession, workspace_id: str, owner: str, place: Place) -> tuple[Sequence[Row[Any]], int]:
    """A page of the owner's orders, newest first, and how many there are on all pages."""
    found = _owned(workspace_id, owner)
    total = select(func.count()).select_from(found.subquery())
    page = found.order_by(ORDER.c.create_time.desc(), ORDER.c.id.desc()).limit(place.limit).offset(place.skip)
    return (await execute(session, page)).all(), int((await execute(session, total)).scalar_one())


def _owned(workspace_id: str, owner: str) -> Select[Any]:
    return select(ORDER).where(ORDER.c.workspace_id == workspace_id, ORDER.c.owner == owner)


async def end_order(session: AsyncSession, workspace_id: str, order_id: str) -> Row[Any]:
    """The order, cancelled now. The caller holds it."""
    mine = (ORDER.c.id == order_id, ORDER.c.workspace_id == workspace_id)
    statement = update(ORDER).where(*mine).values(cancel_time=database_now(session))
    return (await execute(session, statement.returning(ORDER))).one()


async def sum_files(session: AsyncSession, workspace_id: str, order_ids: Collection[str]) -> dict[str, Sums]:
    """What the files of each of these orders add up to."""
    announced = (JOB.c.waiting != READY).label("announced")
    figures = (
        func.count().label("file_count"),
        func.sum(FILE.c.detection_count).label("detection_count"),
        func.min(JOB.c.start_time).label("start_time"),
        func.max(JOB.c.complete_time).label("complete_time"),
        func.max(JOB.c.error_reason).label("reason"),
    )
    files = select(FILE.c.order_id, JOB.c.state, announced, *figures).join(JOB, JOB.c.id == FILE.c.job_id)
    mine = (FILE.c.workspace_id == workspace_id, FILE.c.order_id.in_(list(order_ids)))
    sums = {order_id: Sums() for order_id in order_ids}
    for group in await execute(session, files.where(*mine).group_by(FILE.c.order_id, JOB.c.state, announced)):
        sums[group.order_id].add(group)
    return sums


def order_proto(row: Row[Any], sums: Sums) -> InferenceJob:
    """The order as the mesh sees it, without its files."""
    state = order_state(sums.files, cancelled=row.cancel_time is not None)
    order = InferenceJob(
        id=row.id,
        workspace_id=row.workspace_id,
        model_id=row.detector_id,
        config=InferenceConfig.FromString(row.config),
        state=state,
        error=job_error(sums.reason, "No file was read to its end; each says why.") if state == DETECTION_STATE_FAILED else None,
        file_count=sums.files.total,
        processed_file_count=sums.files.completed,
        failed_file_count=sums.files.failed,
        detection_count=sums.detection_count,
    )
    complete_time = row.cancel_time or (sums.complete_time if state in ENDED_STATES else None)
    for name, time in (("create_time", row.create_time), ("start_time", sums.start_time), ("complete_time", complete_time)):
        if time is not None:
            getattr(order, name).FromDatetime(time)
    return order
