"""Datasets, models and their orders as the Relay contract shows them."""

import math

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from services.gateway.domain import Json
from steno.jobs.v1 import detection_job_pb2 as orders
from steno.jobs.v1.detection_job_pb2 import InferenceFile, InferenceJob, TrainingJob
from steno.jobs.v1.detector_pb2 import ClassMetrics, Detector, EpochMetrics, EvaluationMetrics
from steno.storage.v1.annotation_set_pb2 import Annotation, AnnotationSet
from steno.storage.v1.dataset_pb2 import Dataset, DatasetAudio

Row = dict[str, Json]
# Whole numbers up to here are doubles too.
MAX_EXACT = 2**53

AUDIO_STATUSES = {
    DatasetAudio.STATE_PENDING: "pending",
    DatasetAudio.STATE_NORMALIZING: "normalizing",
    DatasetAudio.STATE_EMBEDDING: "embedding",
    DatasetAudio.STATE_READY: "ready",
    DatasetAudio.STATE_FAILED: "failed",
}
SET_STATUSES = {AnnotationSet.STATE_DRAFT: "draft", AnnotationSet.STATE_PUBLISHED: "published"}
ORDER_STATUSES = {
    orders.DETECTION_STATE_PENDING: "pending",
    orders.DETECTION_STATE_RUNNING: "running",
    orders.DETECTION_STATE_COMPLETED: "completed",
    orders.DETECTION_STATE_FAILED: "failed",
    orders.DETECTION_STATE_CANCELLED: "cancelled",
}
FILE_STATUSES = {
    InferenceFile.STATE_PENDING: "pending",
    InferenceFile.STATE_QUEUED: "queued",
    InferenceFile.STATE_PROCESSING: "processing",
    InferenceFile.STATE_COMPLETED: "completed",
    InferenceFile.STATE_FAILED: "failed",
}


def dataset_row(dataset: Dataset) -> Row:
    """A dataset without its counts."""
    types: list[Json] = [
        {"name": each.name, "description": each.description or None, "color": each.color} for each in dataset.artifact_types
    ]
    return {
        "id": dataset.id,
        "name": dataset.name,
        "description": dataset.description or None,
        "artifact_types": types,
        "created_at": _time(dataset, "create_time"),
        "updated_at": _time(dataset, "update_time"),
    }


def counted_dataset_row(dataset: Dataset) -> Row:
    """A dataset as lists show it."""
    return {**dataset_row(dataset), "audio_count": dataset.audio_count, "annotation_set_count": dataset.annotation_set_count}


def audio_row(audio: DatasetAudio) -> Row:
    """An audio file of a dataset."""
    return {
        "id": audio.id,
        "dataset_id": audio.dataset_id,
        "original_filename": audio.original_filename,
        "duration_ms": audio.duration_ms or None,
        "processing_status": AUDIO_STATUSES[audio.state],
        "file_size": audio.size_bytes,
        "error_message": audio.error_message or None,
        "created_at": _time(audio, "create_time"),
    }


def set_row(found: AnnotationSet) -> Row:
    """A version of a dataset's labels, without them."""
    return {
        "id": found.id,
        "dataset_id": found.dataset_id,
        "version": found.version,
        "status": SET_STATUSES[found.state],
        "total_annotations": found.total_annotations,
        "total_positive_duration_ms": found.total_positive_duration_ms,
        "annotations_by_type": dict(found.annotations_by_type),
        "created_at": _time(found, "create_time"),
        "published_at": _time(found, "publish_time"),
    }


def annotation_row(annotation: Annotation) -> Row:
    """A labelled stretch of an audio file."""
    return {
        "id": annotation.id,
        "annotation_set_id": annotation.annotation_set_id,
        "audio_file_id": annotation.audio_file_id,
        "artifact_type": annotation.artifact_type,
        "start_ms": annotation.start_offset_ms,
        "end_ms": annotation.end_offset_ms,
        "confidence": annotation.confidence,
        "extra_data": _plain_object(annotation.extra_data),
    }


def training_row(job: TrainingJob) -> Row:
    """An order to train a model."""
    return {
        "id": job.id,
        "tenant_id": job.workspace_id,
        "dataset_id": job.dataset_id,
        "annotation_set_id": job.annotation_set_id,
        "config": _training_config(job),
        "status": ORDER_STATUSES[job.state],
        "progress": round(job.progress, 4),
        "metrics": [_epoch_row(each) for each in job.metrics],
        "model_id": job.model_id or None,
        **_ending(job),
    }


def model_row(detector: Detector) -> Row:
    """A trained model."""
    return {
        "id": detector.id,
        "name": detector.name,
        "description": detector.description or None,
        "artifact_types": list(detector.artifact_types),
        "training_job_id": detector.training_job_id or None,
        "eval_metrics": _scores_row(detector.eval_metrics),
        "is_active": detector.is_active,
        "created_at": _time(detector, "create_time"),
    }


def inference_row(job: InferenceJob) -> Row:
    """An order to run a model, without its files."""
    return {
        "id": job.id,
        "tenant_id": job.workspace_id,
        "model_id": job.model_id,
        "config": {
            "threshold": job.config.threshold,
            "merge_window_ms": job.config.merge_window_ms,
            "min_duration_ms": job.config.min_duration_ms,
        },
        "status": ORDER_STATUSES[job.state],
        "total_files": job.file_count,
        "processed_files": job.processed_file_count,
        "failed_files": job.failed_file_count,
        "total_detections": job.detection_count,
        **_ending(job),
    }


def inference_detail(job: InferenceJob) -> Row:
    """An order with its files and what was found in them."""
    return {**inference_row(job), "files": [file_row(file) for file in job.files]}


def file_row(file: InferenceFile) -> Row:
    """One file of an order with what was found in it."""
    detections: list[Json] = [
        {
            "artifact_type": found.artifact_type,
            "start_ms": found.start_offset_ms,
            "end_ms": found.end_offset_ms,
            "confidence": found.confidence,
        }
        for found in file.detections
    ]
    return {
        "id": file.id,
        "inference_job_id": file.inference_job_id,
        "original_filename": file.original_filename,
        "duration_ms": file.duration_ms or None,
        "status": FILE_STATUSES[file.state],
        "error_message": _failure(file),
        "detections": detections,
        "detection_count": file.detection_count,
        "processed_at": _time(file, "process_time"),
    }


def _training_config(job: TrainingJob) -> Row:
    config = job.config
    return {
        "artifact_types": list(config.artifact_types),
        "epochs": config.epochs,
        "validation_split": config.validation_split,
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size,
        "chunk_size_ms": config.chunk_size_ms,
        "stride_ms": config.stride_ms,
    }


def _epoch_row(metrics: EpochMetrics) -> Row:
    names = ("training_loss", "validation_loss", "validation_f1_score")
    return {"epoch": metrics.epoch, **{name: _finite(getattr(metrics, name)) for name in names}}


def _finite(value: float) -> float | None:
    """A diverged training's loss is no JSON number."""
    return value if math.isfinite(value) else None


def _scores_row(metrics: EvaluationMetrics) -> Row:
    per_class: Row = {name: {**_scores(scores), "support": scores.support} for name, scores in sorted(metrics.per_class.items())}
    return {**_scores(metrics), "per_class": per_class}


def _scores(metrics: EvaluationMetrics | ClassMetrics) -> Row:
    return {"precision": metrics.precision, "recall": metrics.recall, "f1_score": metrics.f1_score}


def _ending(job: TrainingJob | InferenceJob) -> Row:
    """What both kinds of order tell of their life."""
    return {
        "error_message": _failure(job),
        "created_at": _time(job, "create_time"),
        "started_at": _time(job, "start_time"),
        "completed_at": _time(job, "complete_time"),
    }


def _failure(message: TrainingJob | InferenceJob | InferenceFile) -> str | None:
    if not message.HasField("error"):
        return None
    return message.error.message or message.error.reason


def _time(message: Message, field: str) -> str | None:
    time: Timestamp = getattr(message, field)
    return time.ToJsonString() if message.HasField(field) else None


def _plain_object(struct: Struct) -> Row:
    return {name: _plain(value) for name, value in struct.fields.items()}


def _plain(value: Value) -> Json:
    """A value as it was sent: whole numbers are kept as doubles in between."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _plain_object(value.struct_value)
    if kind == "list_value":
        return [_plain(each) for each in value.list_value.values]
    if kind == "number_value":
        return _number(value.number_value)
    return None if kind in (None, "null_value") else value.bool_value if kind == "bool_value" else value.string_value


def _number(value: float) -> int | float:
    return int(value) if value.is_integer() and abs(value) <= MAX_EXACT else value
