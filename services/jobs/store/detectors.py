"""Detector rows, and their only way to the proto."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.detection import Place
from services.jobs.domain import PROCESSING, QUEUED
from services.jobs.store.detection_tables import DetectorRow
from services.jobs.store.inference_files import FILE
from services.jobs.store.inference_orders import ORDER
from services.jobs.store.jobs import JOB
from services.jobs.store.statements import database_now, execute
from services.mesh.columns import table_of
from steno.jobs.v1.detector_pb2 import Detector, EvaluationMetrics

DETECTOR = table_of(DetectorRow)
_PLAIN = ("id", "workspace_id", "name", "description", "training_job_id", "is_active", "artefact_id")


async def insert_detector(session: AsyncSession, owner: str, detector: Detector) -> None:
    """A new detector of that owner, active; its create_time is now."""
    values = {name: getattr(detector, name) for name in _PLAIN}
    values |= {"is_active": True, "owner": owner, "artifact_types": _packed(detector.artifact_types)}
    values |= {"eval_metrics": detector.eval_metrics.SerializeToString(), "create_time": database_now(session)}
    await execute(session, insert(DETECTOR).values(values))


async def read_detector(session: AsyncSession, workspace_id: str, owner: str, detector_id: str, *, hold: bool = False) -> Row[Any] | None:
    """A detector of the owner; `hold` keeps it as it is until the transaction ends."""
    statement = _owned(workspace_id, owner).where(DETECTOR.c.id == detector_id)
    return (await execute(session, statement.with_for_update() if hold else statement)).one_or_none()


async def list_detectors(
    session: AsyncSession, workspace_id: str, owner: str, place: Place, is_active: bool | None
) -> tuple[Sequence[Row[Any]], int]:
    """A page of the owner's detectors, newest first, and how many there are on all pages. is_active: None for all."""
    found = _owned(workspace_id, owner)
    found = found if is_active is None else found.where(DETECTOR.c.is_active == is_active)
    total = select(func.count()).select_from(found.subquery())
    page = found.order_by(DETECTOR.c.create_time.desc(), DETECTOR.c.id.desc()).limit(place.limit).offset(place.skip)
    return (await execute(session, page)).all(), int((await execute(session, total)).scalar_one())


def _owned(workspace_id: str, owner: str) -> Select[Any]:
    return select(DETECTOR).where(DETECTOR.c.workspace_id == workspace_id, DETECTOR.c.owner == owner)


async def change_detector(session: AsyncSession, workspace_id: str, detector_id: str, **values: Any) -> Row[Any]:
    """The detector with these values. The caller holds it."""
    mine = (DETECTOR.c.id == detector_id, DETECTOR.c.workspace_id == workspace_id)
    return (await execute(session, update(DETECTOR).where(*mine).values(**values).returning(DETECTOR))).one()


async def delete_detector(session: AsyncSession, workspace_id: str, detector_id: str) -> None:
    """The detector is gone; whoever does this orders the removal of its artefact."""
    await execute(session, delete(DETECTOR).where(DETECTOR.c.id == detector_id, DETECTOR.c.workspace_id == workspace_id))


async def files_wait(session: AsyncSession, workspace_id: str, detector_id: str) -> bool:
    """Whether a file waits for the detector, announced ones included, or is at work."""
    waiting = select(JOB.c.id).join(FILE, FILE.c.job_id == JOB.c.id).join(ORDER, ORDER.c.id == FILE.c.order_id)
    mine = (ORDER.c.detector_id == detector_id, ORDER.c.workspace_id == workspace_id, JOB.c.state.in_((QUEUED, PROCESSING)))
    return (await execute(session, waiting.where(*mine).limit(1))).one_or_none() is not None


def detector_proto(row: Row[Any]) -> Detector:
    """The detector as the mesh sees it."""
    detector = Detector(**{name: getattr(row, name) for name in _PLAIN})
    detector.artifact_types.extend(row.artifact_types.decode().split("\0")[:-1])
    detector.eval_metrics.CopyFrom(EvaluationMetrics.FromString(row.eval_metrics))
    detector.create_time.FromDatetime(row.create_time)
    return detector


def _packed(names: Sequence[str]) -> bytes:
    return "".join(f"{name}\0" for name in names).encode()
