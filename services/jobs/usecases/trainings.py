"""Ordering trainings, reading and ending them."""

from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.detection import accepted_training, check_training_count, check_training_set, detector_name, read_place
from services.jobs.domain import ENDED, TRAINING, JobAlreadyEnded, TrainingJobNotFound
from services.jobs.store.jobs import insert_job, lock_visible
from services.jobs.store.trainings import (
    count_trainings,
    count_unended,
    insert_training,
    list_trainings,
    read_epochs,
    read_training,
    training_proto,
)
from services.jobs.usecases.access import known
from services.jobs.usecases.endings import cancel_job
from services.jobs.usecases.peers import reaching
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.identity import Caller
from services.mesh.ids import new_id
from steno.jobs.v1.detection_job_pb2 import TrainingJob
from steno.jobs.v1.detection_jobs_service_pb2 import CreateTrainingJobRequest
from steno.jobs.v1.detector_pb2 import TrainingTask
from steno.jobs.v1.job_pb2 import Job
from steno.storage.v1.datasets_service_pb2 import DescribeTrainingSetRequest, DescribeTrainingSetResponse


async def create_training(resources: Resources, caller: Caller, request: CreateTrainingJobRequest) -> TrainingJob:
    """A training, waiting for a worker; it costs nothing.

    Raises InvalidField, what check_training_set raises, Overloaded, AuthenticationRequired, ServiceUnavailable, and storage's refusals.
    """
    known(caller)
    config = accepted_training(request.config)
    described = await _described(resources, request.dataset_id, request.annotation_set_id)
    check_training_set(config.artifact_types, described)
    task = TrainingTask(dataset_id=request.dataset_id, annotation_set_id=request.annotation_set_id, config=config)
    name = detector_name(described.dataset.name, described.annotation_set.version)
    async with resources.database.transaction() as session:
        check_training_count(await count_unended(session, caller.workspace_id, caller.owner))
        job_id = await _insert(session, caller, task, name)
        training = await _told(session, caller.workspace_id, job_id)
        fault.point("jobs.create_training.before_commit")
    fault.point("jobs.create_training.after_commit")
    resources.work_waiting.set()
    return training


async def _described(resources: Resources, dataset_id: str, annotation_set_id: str) -> DescribeTrainingSetResponse:
    with reaching("storage"):
        request = DescribeTrainingSetRequest(dataset_id=dataset_id, annotation_set_id=annotation_set_id)
        return await resources.datasets.DescribeTrainingSet(request)


async def _insert(session: AsyncSession, caller: Caller, task: TrainingTask, name: str) -> str:
    row = await insert_job(
        session,
        id=new_id(),
        kind=TRAINING,
        workspace_id=caller.workspace_id,
        owner=caller.owner,
        source=Job.SOURCE_API,
        media_id="",
        media_sha256="",
        filename="",
        audio_duration_ms=0,
        held_ms=0,
        config=task.SerializeToString(),
        wallet_id=caller.wallet_id,
    )
    await insert_training(session, row.id, caller.workspace_id, name)
    return str(row.id)


async def _told(session: AsyncSession, workspace_id: str, job_id: str) -> TrainingJob:
    row = await read_training(session, workspace_id, job_id)
    if row is None:
        raise TrainingJobNotFound(training_job_id=job_id)
    return training_proto(row, (await read_epochs(session, workspace_id, [job_id]))[job_id])


async def get_training(resources: Resources, caller: Caller, job_id: str) -> TrainingJob:
    """One training of the caller. Raises TrainingJobNotFound, AuthenticationRequired."""
    known(caller)
    async with resources.database.reading() as session:
        row = await read_training(session, caller.workspace_id, job_id)
        _owned(caller, row, job_id)
        return await _told(session, caller.workspace_id, job_id)


async def list_page(resources: Resources, caller: Caller, page: int, page_size: int) -> tuple[list[TrainingJob], int]:
    """A page of the caller's trainings, newest first, and how many there are on all. Raises InvalidField, AuthenticationRequired."""
    known(caller)
    place = read_place(page, page_size)
    async with resources.database.reading() as session:
        rows = await list_trainings(session, caller.workspace_id, caller.owner, place)
        epochs = await read_epochs(session, caller.workspace_id, [row.id for row in rows])
        total = await count_trainings(session, caller.workspace_id, caller.owner)
    return [training_proto(row, epochs[row.id]) for row in rows], total


async def cancel_training(resources: Resources, caller: Caller, job_id: str) -> TrainingJob:
    """Stops a training that has not ended. Raises TrainingJobNotFound, JobAlreadyEnded, AuthenticationRequired."""
    known(caller)
    async with resources.database.transaction() as session:
        row = _owned(caller, await lock_visible(session, job_id, caller.workspace_id, TRAINING), job_id)
        if row.state in ENDED:
            raise JobAlreadyEnded(training_job_id=job_id)
        job = await cancel_job(session, row, row.now)
        training = await _told(session, caller.workspace_id, job_id)
        fault.point("jobs.cancel_training.before_commit")
    fault.point("jobs.cancel_training.after_commit")
    resources.announce(job)
    return training


def _owned(caller: Caller, row: Row[Any] | None, job_id: str) -> Row[Any]:
    if row is None or row.owner != caller.owner:
        raise TrainingJobNotFound(training_job_id=job_id)
    return row
