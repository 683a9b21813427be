"""What inference tells of detectors: one that was trained, and what one found."""

from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.detection import charged_ms
from services.jobs.domain import DETECTION, TRAINING, job_error
from services.jobs.store.detectors import insert_detector
from services.jobs.store.inference_files import keep_parts, read_parts, read_rate
from services.jobs.store.jobs import lock_job
from services.jobs.store.tables import inbox
from services.jobs.store.trainings import note_detector, read_training
from services.jobs.store.windows import delete_windows, read_window
from services.jobs.usecases.endings import fail_job, finish_job
from services.jobs.usecases.finish import counts, discard
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.ids import new_id
from services.mesh.inbox import first_time
from steno.inference.v1.checkpoints_pb2 import Detections, TrainedDetector
from steno.inference.v1.inference_events_pb2 import DetectionCompleted, TrainingCompleted
from steno.jobs.v1.detector_pb2 import Detector, TrainingTask
from steno.jobs.v1.job_pb2 import Job

_NO_DETECTOR = job_error("TRAINING_FAILED", "The training ended without a detector.")
_NO_PARTS = job_error("DETECTION_FAILED", "Not everything that was found was kept.")


async def complete_training(resources: Resources, consumer: str, event_id: str, result: TrainingCompleted) -> None:
    """Ends the training with its detector, if its claim still counts; else the detector is removed from storage. Idempotent."""
    job: Job | None = None
    async with resources.database.transaction() as session:
        if await first_time(session, inbox, consumer, event_id):
            row = await lock_job(session, result.job_id)
            if row is not None and row.kind == TRAINING and counts(row, result.fence):
                job = await _keep_detector(session, row, result)
            else:
                await discard(session, row, result.job_id, result.workspace_id, result.detector_artefact_id)
            fault.point("jobs.complete_training.before_commit")
    fault.point("jobs.complete_training.after_commit")
    if job is not None:
        resources.announce(job)
    resources.removals_waiting.set()


async def _keep_detector(session: AsyncSession, row: Row[Any], result: TrainingCompleted) -> Job:
    window = await read_window(session, row.id, 0)
    trained = TrainedDetector.FromString(window or b"")
    training = await read_training(session, row.workspace_id, row.id)
    if training is None or not result.detector_artefact_id or trained.detector_artefact_id != result.detector_artefact_id:
        await discard(session, row, row.id, row.workspace_id, result.detector_artefact_id)
        return await fail_job(session, row, row.now, _NO_DETECTOR)
    detector = Detector(
        id=new_id(),
        workspace_id=row.workspace_id,
        name=training.detector_name,
        artifact_types=TrainingTask.FromString(row.config).config.artifact_types,
        training_job_id=row.id,
        eval_metrics=trained.eval_metrics,
        artefact_id=result.detector_artefact_id,
    )
    await insert_detector(session, row.owner, detector)
    await note_detector(session, row.workspace_id, row.id, detector.id)
    values = {"audio_duration_ms": result.audio_duration_ms, "transcript_artefact_id": result.detector_artefact_id}
    return await finish_job(session, row, row.now, 0, **values)


async def complete_detection(resources: Resources, consumer: str, event_id: str, result: DetectionCompleted) -> None:
    """Ends the file with what was found in it, if its claim still counts. Idempotent."""
    job: Job | None = None
    async with resources.database.transaction() as session:
        if await first_time(session, inbox, consumer, event_id):
            row = await lock_job(session, result.job_id)
            if row is not None and row.kind == DETECTION and counts(row, result.fence):
                job = await _keep_detections(session, row, result)
            fault.point("jobs.complete_detection.before_commit")
    fault.point("jobs.complete_detection.after_commit")
    if job is not None:
        resources.announce(job)


async def _keep_detections(session: AsyncSession, row: Row[Any], result: DetectionCompleted) -> Job:
    parts = await read_parts(session, row.id, result.part_count)
    if len(parts) != result.part_count:
        return await fail_job(session, row, row.now, _NO_PARTS)
    detection_count = sum(len(Detections.FromString(part).detections) for part in parts)
    await keep_parts(session, row.workspace_id, row.id, parts, detection_count)
    await delete_windows(session, row.id)
    rate = await read_rate(session, row.workspace_id, row.id)
    values = {"audio_duration_ms": result.audio_duration_ms, "truncated": result.truncated, "engine": result.engine}
    # What is charged never exceeds what is on hold.
    return await finish_job(session, row, row.now, min(charged_ms(result.audio_duration_ms, rate), row.held_ms), **values)
