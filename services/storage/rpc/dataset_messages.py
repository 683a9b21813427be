"""Datasets and what is in them, between rows and messages."""

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct

from services.mesh.errors import InvalidField
from services.storage.datasets import AudioState, Label, SetState, Statistics
from services.storage.rpc.storage import url_proto
from services.storage.store.dataset_tables import Annotation, AnnotationSet, DatasetAudio
from services.storage.usecases.datasets.catalogue import Counted
from services.storage.usecases.datasets.training import TrainingFile
from steno.storage.v1 import annotation_set_pb2, dataset_pb2
from steno.storage.v1.datasets_service_pb2 import ListTrainingFilesResponse

_AUDIO_STATES = {
    AudioState.PENDING: dataset_pb2.DatasetAudio.STATE_PENDING,
    AudioState.NORMALIZING: dataset_pb2.DatasetAudio.STATE_NORMALIZING,
    AudioState.EMBEDDING: dataset_pb2.DatasetAudio.STATE_EMBEDDING,
    AudioState.READY: dataset_pb2.DatasetAudio.STATE_READY,
    AudioState.FAILED: dataset_pb2.DatasetAudio.STATE_FAILED,
}
_SET_STATES = {
    SetState.DRAFT: annotation_set_pb2.AnnotationSet.STATE_DRAFT,
    SetState.PUBLISHED: annotation_set_pb2.AnnotationSet.STATE_PUBLISHED,
}


def types_of(given: Iterable[dataset_pb2.ArtifactType]) -> list[Mapping[str, str]]:
    """Artifact types as the rules read them."""
    return [{"name": kind.name, "description": kind.description, "color": kind.color} for kind in given]


def label_of(given: annotation_set_pb2.Annotation) -> Label:
    """An annotation as the rules read it. Raises InvalidField for numbers that JSON does not know."""
    span = given.start_offset_ms, given.end_offset_ms
    return Label(given.audio_file_id, given.artifact_type, *span, given.confidence, _extra_data(given.extra_data))


def _extra_data(given: Struct) -> Mapping[str, Any]:
    try:
        return MessageToDict(given)
    except ValueError as error:
        raise InvalidField("extra_data is finite JSON.", field="extra_data") from error


def dataset_proto(counted: Counted) -> dataset_pb2.Dataset:
    """A dataset as others see it."""
    row = counted.dataset
    message = dataset_pb2.Dataset(
        id=row.id,
        workspace_id=row.workspace_id,
        name=row.name,
        description=row.description,
        artifact_types=[dataset_pb2.ArtifactType(**declared) for declared in row.artifact_types],
        audio_count=counted.audio_count,
        annotation_set_count=counted.annotation_set_count,
    )
    message.create_time.FromDatetime(row.create_time)
    message.update_time.FromDatetime(row.change_time)
    return message


def audio_proto(row: DatasetAudio) -> dataset_pb2.DatasetAudio:
    """An audio file as others see it."""
    message = dataset_pb2.DatasetAudio(
        id=row.id,
        dataset_id=row.dataset_id,
        media_id=row.media_id,
        original_filename=row.original_filename,
        duration_ms=row.duration_ms,
        state=_AUDIO_STATES[AudioState(row.state)],
        error_message=row.error_message,
        size_bytes=row.size_bytes,
    )
    message.create_time.FromDatetime(row.create_time)
    return message


def set_proto(row: AnnotationSet, statistics: Statistics) -> annotation_set_pb2.AnnotationSet:
    """An annotation set as others see it."""
    message = annotation_set_pb2.AnnotationSet(
        id=row.id,
        dataset_id=row.dataset_id,
        version=row.version,
        state=_SET_STATES[SetState(row.state)],
        total_annotations=statistics.total_annotations,
        total_positive_duration_ms=statistics.total_positive_duration_ms,
        annotations_by_type=statistics.annotations_by_type,
    )
    message.create_time.FromDatetime(row.create_time)
    if row.publish_time is not None:
        message.publish_time.FromDatetime(row.publish_time)
    return message


def annotation_proto(row: Annotation, *, extra_data: bool = True) -> annotation_set_pb2.Annotation:
    """An annotation as others see it."""
    message = annotation_set_pb2.Annotation(
        id=row.id,
        annotation_set_id=row.annotation_set_id,
        audio_file_id=row.audio_id,
        artifact_type=row.artifact_type,
        start_offset_ms=row.start_ms,
        end_offset_ms=row.end_ms,
        confidence=row.confidence,
    )
    if extra_data:
        message.extra_data.update(row.extra_data)
    return message


def training_file_proto(file: TrainingFile) -> ListTrainingFilesResponse:
    """A file as a trainer sees it; what clients keep with annotations is none of its business."""
    return ListTrainingFilesResponse(
        audio_id=file.audio.id,
        duration_ms=file.audio.duration_ms,
        features_url=url_proto(file.features),
        annotations=[annotation_proto(row, extra_data=False) for row in file.annotations],
    )
