"""The rules of trainings, detectors and inference orders, on plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.jobs.domain import (
    CANCELLED,
    DONE,
    FAILED,
    PROCESSING,
    QUEUED,
    READY,
    AnnotationSetNotPublished,
    AudioNotReady,
    JobAlreadyEnded,
    MediaTooLarge,
    TooFewAnnotations,
    TooLittleAudio,
    UnknownArtifactType,
    UnsupportedMedia,
    job_error,
    page_size,
)
from services.mesh.errors import InvalidField, Overloaded
from steno.billing.v1.workspace_pb2 import Plan
from steno.jobs.v1 import detection_job_pb2 as pb
from steno.jobs.v1.detection_job_pb2 import InferenceFile
from steno.jobs.v1.detector_pb2 import InferenceConfig, TrainingConfig
from steno.jobs.v1.job_pb2 import JobError
from steno.storage.v1.annotation_set_pb2 import AnnotationSet
from steno.storage.v1.datasets_service_pb2 import DescribeTrainingSetResponse

MAX_EPOCHS: Final = 100
MIN_AUDIO_MS: Final = 5 * 60 * 1000
MAX_ARTIFACT_TYPES: Final = 50
MAX_TYPE_CHARACTERS: Final = 100
MAX_NAME_CHARACTERS: Final = 255
MAX_DESCRIPTION_CHARACTERS: Final = 2000
MAX_FILENAME_CHARACTERS: Final = 255
MAX_FILE_BYTES: Final = 500 * 1024 * 1024
MAX_FILES: Final = 1000
MAX_PARTS: Final = 64
# They cost nothing, so that nothing else bounds them.
MAX_UNENDED_TRAININGS: Final = 100
# What plans of a billing of the release before cost, which does not tell.
DEFAULT_RATE_PERCENT: Final = 25

_MIN_STRIDE_MS: Final = 50
_EPOCHS, _BATCH_SIZE, _CHUNK_MS, _STRIDE_MS = 20, 32, 500, 250
_VALIDATION_SPLIT, _LEARNING_RATE = 0.2, 0.001
_THRESHOLD, _MERGE_WINDOW_MS, _MIN_DURATION_MS = 0.5, 200, 50
_CONTENT_TYPES: Final = frozenset(
    {
        *("audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave"),
        *("audio/mpeg", "audio/mp3", "audio/x-mp3", "audio/aac", "audio/aacp", "audio/x-aac"),
        *("audio/mp4", "audio/m4a", "audio/x-m4a", "video/mp4"),
        *("audio/ogg", "application/ogg", "audio/flac", "audio/x-flac", "audio/webm", "video/webm"),
    }
)
_STATES: Final[dict[int, pb.DetectionState.ValueType]] = {
    QUEUED: pb.DETECTION_STATE_PENDING,
    PROCESSING: pb.DETECTION_STATE_RUNNING,
    DONE: pb.DETECTION_STATE_COMPLETED,
    FAILED: pb.DETECTION_STATE_FAILED,
    CANCELLED: pb.DETECTION_STATE_CANCELLED,
}
_FILE_STATES: Final[dict[int, InferenceFile.State.ValueType]] = {
    QUEUED: InferenceFile.STATE_QUEUED,
    PROCESSING: InferenceFile.STATE_PROCESSING,
    DONE: InferenceFile.STATE_COMPLETED,
    FAILED: InferenceFile.STATE_FAILED,
    CANCELLED: InferenceFile.STATE_FAILED,
}
ENDED_STATES: Final = frozenset({pb.DETECTION_STATE_COMPLETED, pb.DETECTION_STATE_FAILED, pb.DETECTION_STATE_CANCELLED})


@dataclass(frozen=True)
class Place:
    """A page of a list: rows to leave out before it, and rows on it."""

    skip: int
    limit: int


@dataclass
class FileCounts:
    """How many files of an order stand where: announced, at hand for workers, ended with detections, ended without."""

    announced: int = 0
    active: int = 0
    completed: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.announced + self.active + self.completed + self.failed


def read_place(page: int, asked_size: int) -> Place:
    """The rows of a page, counted from 1; 0 means the first page, and 20 rows. Raises InvalidField."""
    if page < 0:
        raise InvalidField("page is counted from 1.", field="page")
    rows = page_size(asked_size)
    return Place((max(page, 1) - 1) * rows, rows)


def accepted_training(asked: TrainingConfig) -> TrainingConfig:
    """How a detector will learn: 0 is each number's default. Raises InvalidField."""
    _check_types(asked.artifact_types)
    chunk_ms = asked.chunk_size_ms or _CHUNK_MS
    config = TrainingConfig(
        artifact_types=asked.artifact_types,
        epochs=asked.epochs or _EPOCHS,
        validation_split=asked.validation_split or _VALIDATION_SPLIT,
        learning_rate=asked.learning_rate or _LEARNING_RATE,
        batch_size=asked.batch_size or _BATCH_SIZE,
        chunk_size_ms=chunk_ms,
        stride_ms=asked.stride_ms or max(_MIN_STRIDE_MS, min(_STRIDE_MS, chunk_ms)),
    )
    _check_range("epochs", config.epochs, 1, MAX_EPOCHS)
    _check_range("validation_split", config.validation_split, 0.1, 0.5)
    _check_range("learning_rate", config.learning_rate, 0.0001, 0.1)
    _check_range("batch_size", config.batch_size, 8, 256)
    _check_range("chunk_size_ms", config.chunk_size_ms, 100, 10_000)
    _check_range("stride_ms", config.stride_ms, _MIN_STRIDE_MS, config.chunk_size_ms)
    return config


def accepted_inference(asked: InferenceConfig) -> InferenceConfig:
    """How scores will become detections, the defaults filled in. Raises InvalidField."""
    config = InferenceConfig(
        threshold=asked.threshold if asked.HasField("threshold") else _THRESHOLD,
        merge_window_ms=asked.merge_window_ms if asked.HasField("merge_window_ms") else _MERGE_WINDOW_MS,
        min_duration_ms=asked.min_duration_ms if asked.HasField("min_duration_ms") else _MIN_DURATION_MS,
    )
    _check_range("threshold", config.threshold, 0, 1)
    _check_range("merge_window_ms", config.merge_window_ms, 0, 5000)
    _check_range("min_duration_ms", config.min_duration_ms, 0, 1000)
    return config


def _check_range(name: str, value: float, least: float, most: float) -> None:
    """NaN is in no range."""
    if not least <= value <= most:
        raise InvalidField(f"{name} is {least} to {most}.", field=f"config.{name}")


def _check_types(types: Sequence[str]) -> None:
    field = "config.artifact_types"
    if not 0 < len(types) <= MAX_ARTIFACT_TYPES:
        raise InvalidField(f"A detector learns 1 to {MAX_ARTIFACT_TYPES} artifact types.", field=field)
    if len(set(types)) < len(types):
        raise InvalidField("Every artifact type is named once.", field=field)
    if any(not 0 < len(name) <= MAX_TYPE_CHARACTERS for name in types):
        raise InvalidField(f"The name of an artifact type has 1 to {MAX_TYPE_CHARACTERS} characters.", field=field)


def check_training_set(types: Sequence[str], described: DescribeTrainingSetResponse) -> None:
    """Raises AnnotationSetNotPublished, UnknownArtifactType, AudioNotReady, TooLittleAudio or TooFewAnnotations, in this order."""
    if described.annotation_set.state != AnnotationSet.STATE_PUBLISHED:
        raise AnnotationSetNotPublished(annotation_set_id=described.annotation_set.id)
    declared = {declared.name for declared in described.dataset.artifact_types}
    for name in types:
        if name not in declared:
            raise UnknownArtifactType(artifact_type=name)
    if described.ready_file_count < described.file_count:
        raise AudioNotReady(file_count=str(described.file_count), ready_file_count=str(described.ready_file_count))
    if described.ready_duration_ms < MIN_AUDIO_MS:
        raise TooLittleAudio(ready_duration_ms=str(described.ready_duration_ms), required_ms=str(MIN_AUDIO_MS))
    for name in types:
        if described.annotation_set.annotations_by_type.get(name, 0) < 1:
            raise TooFewAnnotations(artifact_type=name)


def check_training_count(unended_count: int) -> None:
    """Raises Overloaded for an owner who has as many trainings in hand as one may have."""
    if unended_count >= MAX_UNENDED_TRAININGS:
        raise Overloaded(f"At most {MAX_UNENDED_TRAININGS} trainings of one owner wait or run at one time.")


def detector_name(dataset_name: str, version: int) -> str:
    """What a new detector is called: its dataset with the version of the labels."""
    suffix = f" v{version}"
    return dataset_name[: MAX_NAME_CHARACTERS - len(suffix)] + suffix


def accepted_name(asked: str) -> str:
    """A detector's name without spaces around it. Raises InvalidField."""
    name = asked.strip()
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or "\0" in name:
        raise InvalidField(f"A name has 1 to {MAX_NAME_CHARACTERS} characters.", field="name")
    return name


def accepted_description(asked: str) -> str:
    """What a detector is for. Raises InvalidField."""
    if len(asked) > MAX_DESCRIPTION_CHARACTERS or "\0" in asked:
        raise InvalidField(f"A description has at most {MAX_DESCRIPTION_CHARACTERS} characters.", field="description")
    return asked


def check_file(filename: str, content_type: str, size_bytes: int) -> None:
    """Raises InvalidField, UnsupportedMedia or MediaTooLarge for a file that no detector is run over."""
    if not 0 < len(filename) <= MAX_FILENAME_CHARACTERS or "\0" in filename:
        raise InvalidField(f"A filename has 1 to {MAX_FILENAME_CHARACTERS} characters.", field="filename")
    if content_type.partition(";")[0].strip().lower() not in _CONTENT_TYPES:
        raise UnsupportedMedia(content_type=content_type[:100])
    if size_bytes < 1:
        raise InvalidField("A file has 1 byte or more.", field="size_bytes")
    if size_bytes > MAX_FILE_BYTES:
        raise MediaTooLarge(max_size_bytes=str(MAX_FILE_BYTES))


def check_file_count(count: int) -> None:
    """Raises InvalidField for an order that has all the files that it may have."""
    if count >= MAX_FILES:
        raise InvalidField(f"An order has at most {MAX_FILES} files.", field="inference_job_id")


def rate_percent(plan: Plan) -> int:
    """What a millisecond of a file costs by the plan, in hundredths of a transcribed one."""
    return plan.detection_rate_percent if plan.HasField("detection_rate_percent") else DEFAULT_RATE_PERCENT


def charged_ms(duration_ms: int, rate: int) -> int:
    """What a file costs, in milliseconds of credit, rounded up; only a rate of 0 makes it nothing."""
    return -(-max(duration_ms, 1) * rate // 100)


def training_state(state: int) -> pb.DetectionState.ValueType:
    """Where a training stands, by the state of its job."""
    return _STATES[state]


def file_state(state: int, waiting: int) -> InferenceFile.State.ValueType:
    """Where a file stands, by its job."""
    return InferenceFile.STATE_PENDING if waiting != READY else _FILE_STATES[state]


def file_error(state: int, reason: str, message: str) -> JobError | None:
    """Why a file failed; None for one that did not."""
    if state == CANCELLED:
        return job_error(JobAlreadyEnded.reason(), "The order was cancelled before the file was done.")
    return job_error(reason, message) if reason else None


def order_state(files: FileCounts, *, cancelled: bool) -> pb.DetectionState.ValueType:
    """Where an order stands, by its files."""
    if cancelled:
        return pb.DETECTION_STATE_CANCELLED
    if files.announced == files.total:
        return pb.DETECTION_STATE_PENDING
    if files.announced or files.active:
        return pb.DETECTION_STATE_RUNNING
    return pb.DETECTION_STATE_COMPLETED if files.completed else pb.DETECTION_STATE_FAILED
