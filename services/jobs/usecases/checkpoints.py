"""What workers of detectors put while they work: checked, and kept beyond the job where it is to be seen."""

import math
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.detection import MAX_EPOCHS, MAX_PARTS
from services.jobs.domain import DETECTION, TRAINING
from services.jobs.store.announcements import announce_artefact
from services.jobs.store.trainings import put_epoch
from services.mesh.errors import InvalidField
from steno.inference.v1.checkpoints_pb2 import Detections, TrainedDetector, TrainingEpoch

Kept = TypeVar("Kept", bound=Message)


async def keep_checkpoint(session: AsyncSession, row: Row[Any], index: int, window: bytes) -> None:
    """Checks a window by the kind of its job; of an epoch keeps what it achieved. Raises InvalidField. The caller holds the job."""
    if row.kind == TRAINING and index > 0:
        await _keep_epoch(session, row, index, _parsed(TrainingEpoch, window))
    elif row.kind == TRAINING:
        _parsed(TrainedDetector, window)
    elif row.kind == DETECTION:
        if index >= MAX_PARTS:
            raise InvalidField(f"A detection has at most {MAX_PARTS} parts.", field="index")
        _parsed(Detections, window)


async def _keep_epoch(session: AsyncSession, row: Row[Any], index: int, epoch: TrainingEpoch) -> None:
    metrics = epoch.metrics
    numbers = (metrics.training_loss, metrics.validation_loss, metrics.validation_f1_score)
    if metrics.epoch != index or index > MAX_EPOCHS or not all(map(math.isfinite, numbers)):
        raise InvalidField("An epoch is put under its number, with finite numbers.", field="window")
    await put_epoch(session, row.id, metrics)
    if epoch.checkpoint_artefact_id:
        await announce_artefact(session, row.id, epoch.checkpoint_artefact_id)


def _parsed(kind: type[Kept], window: bytes) -> Kept:
    try:
        return kind.FromString(window)
    except DecodeError as error:
        raise InvalidField(f"The window is no {kind.DESCRIPTOR.name}.", field="window") from error
