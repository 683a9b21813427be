"""Trainings beside their jobs: whose they are, what their epochs achieved, what they made."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.detection import Place, training_state
from services.jobs.domain import PROCESSING, QUEUED
from services.jobs.store.detection_tables import TrainingEpochRow, TrainingRow
from services.jobs.store.jobs import IS_TRAINING, JOB, to_proto
from services.jobs.store.statements import execute
from services.mesh.columns import dialect_of, table_of
from steno.jobs.v1.detection_job_pb2 import TrainingJob
from steno.jobs.v1.detector_pb2 import EpochMetrics

TRAINING = table_of(TrainingRow)
EPOCH = table_of(TrainingEpochRow)
_NUMBERS = ("training_loss", "validation_loss", "validation_f1_score")
_TIMES = ("create_time", "start_time", "complete_time")


async def insert_training(session: AsyncSession, job_id: str, workspace_id: str, detector_name: str) -> None:
    """What the training of a job is about."""
    values = {"job_id": job_id, "workspace_id": workspace_id, "detector_name": detector_name, "detector_id": ""}
    await execute(session, insert(TRAINING).values(values))


async def read_training(session: AsyncSession, workspace_id: str, job_id: str) -> Row[Any] | None:
    """The training of a job, with the job."""
    statement = _trainings(workspace_id).where(JOB.c.id == job_id)
    return (await execute(session, statement)).one_or_none()


async def list_trainings(session: AsyncSession, workspace_id: str, owner: str, place: Place) -> Sequence[Row[Any]]:
    """The owner's trainings with their jobs, newest first."""
    order = (JOB.c.create_time.desc(), JOB.c.id.desc())
    statement = _trainings(workspace_id).where(JOB.c.owner == owner).order_by(*order)
    return (await execute(session, statement.limit(place.limit).offset(place.skip))).all()


def _trainings(workspace_id: str) -> Select[Any]:
    found = select(JOB, TRAINING.c.detector_name, TRAINING.c.detector_id).join(TRAINING, TRAINING.c.job_id == JOB.c.id)
    return found.where(IS_TRAINING, JOB.c.workspace_id == workspace_id)


async def count_trainings(session: AsyncSession, workspace_id: str, owner: str) -> int:
    """How many trainings the owner has."""
    statement = select(func.count()).select_from(JOB).where(IS_TRAINING, JOB.c.workspace_id == workspace_id, JOB.c.owner == owner)
    return int((await execute(session, statement)).scalar_one())


async def count_unended(session: AsyncSession, workspace_id: str, owner: str) -> int:
    """How many of them have not ended."""
    mine = (IS_TRAINING, JOB.c.workspace_id == workspace_id, JOB.c.owner == owner, JOB.c.state.in_((QUEUED, PROCESSING)))
    return int((await execute(session, select(func.count()).select_from(JOB).where(*mine))).scalar_one())


async def note_detector(session: AsyncSession, workspace_id: str, job_id: str, detector_id: str) -> None:
    """The training made that detector."""
    mine = (TRAINING.c.job_id == job_id, TRAINING.c.workspace_id == workspace_id)
    await execute(session, update(TRAINING).where(*mine).values(detector_id=detector_id))


async def put_epoch(session: AsyncSession, job_id: str, metrics: EpochMetrics) -> None:
    """Keeps what an epoch achieved; of one that was run again the last run counts. The caller holds the job."""
    numbers = {name: getattr(metrics, name) for name in _NUMBERS}
    dialect = sqlite if dialect_of(session) == "sqlite" else postgresql
    statement = dialect.insert(EPOCH).values(job_id=job_id, epoch=metrics.epoch, **numbers)
    await execute(session, statement.on_conflict_do_update(index_elements=[EPOCH.c.job_id, EPOCH.c.epoch], set_=numbers))


async def read_epochs(session: AsyncSession, workspace_id: str, job_ids: Collection[str]) -> dict[str, list[EpochMetrics]]:
    """What the epochs of these trainings achieved, in their order."""
    epochs = select(EPOCH).join(TRAINING, TRAINING.c.job_id == EPOCH.c.job_id)
    mine = (TRAINING.c.workspace_id == workspace_id, EPOCH.c.job_id.in_(list(job_ids)))
    statement = epochs.where(*mine).order_by(EPOCH.c.job_id, EPOCH.c.epoch)
    found: dict[str, list[EpochMetrics]] = {job_id: [] for job_id in job_ids}
    for row in await execute(session, statement):
        numbers = {name: getattr(row, name) for name in _NUMBERS}
        found[row.job_id].append(EpochMetrics(epoch=row.epoch, **numbers))
    return found


def training_proto(row: Row[Any], epochs: Sequence[EpochMetrics]) -> TrainingJob:
    """The training as the mesh sees it; row: with its job."""
    job = to_proto(row)
    training = TrainingJob(
        id=job.id,
        workspace_id=job.workspace_id,
        dataset_id=job.training.dataset_id,
        annotation_set_id=job.training.annotation_set_id,
        config=job.training.config,
        state=training_state(row.state),
        progress=job.progress,
        metrics=epochs,
        model_id=row.detector_id,
        error=job.error if job.HasField("error") else None,
    )
    for name in _TIMES:
        if getattr(row, name) is not None:
            getattr(training, name).FromDatetime(getattr(row, name))
    return training
