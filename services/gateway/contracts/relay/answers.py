"""Shapes of what the Relay contract answers, for its documents."""

from typing import Any, Literal

from pydantic import BaseModel, Field

DetectionStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
AudioStatus = Literal["pending", "normalizing", "embedding", "ready", "failed"]
FileStatus = Literal["pending", "queued", "processing", "completed", "failed"]


class Page(BaseModel):
    """What every page of a list tells beside its items."""

    total: int = Field(description="On all pages.")
    page: int
    page_size: int
    has_more: bool


class ArtifactTypeRow(BaseModel):
    """One kind of sound to annotate."""

    name: str
    description: str | None
    color: str


class DatasetRow(BaseModel):
    """A dataset."""

    id: str
    name: str
    description: str | None
    artifact_types: list[ArtifactTypeRow]
    created_at: str | None
    updated_at: str | None


class CountedDatasetRow(DatasetRow):
    """A dataset as lists show it."""

    audio_count: int
    annotation_set_count: int


class DatasetPage(Page):
    """Datasets, newest first."""

    items: list[CountedDatasetRow]


class AnnouncedAudio(BaseModel):
    """How the bytes of an audio file are posted."""

    upload_url: str = Field(description="POST a multipart form here: every field, then `file`. No key; 204 once it is stored.")
    fields: dict[str, str]
    audio_id: str
    expires_in: int = Field(description="Seconds.")


class ConfirmedAudioRow(BaseModel):
    """What became of a posted audio file."""

    audio_id: str
    status: AudioStatus
    message: str


class AudioRow(BaseModel):
    """An audio file of a dataset."""

    id: str
    dataset_id: str
    original_filename: str
    duration_ms: int | None
    processing_status: AudioStatus
    file_size: int
    error_message: str | None
    created_at: str | None


class AudioPage(Page):
    """Audio files, newest first."""

    items: list[AudioRow]


class DownloadUrl(BaseModel):
    """Where a file can be read from for a while."""

    download_url: str
    expires_in: int = Field(description="Seconds.")


class AnnotationRow(BaseModel):
    """A labelled stretch of an audio file."""

    id: str
    annotation_set_id: str
    audio_file_id: str
    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float
    extra_data: dict[str, Any]


class AnnotationSetRow(BaseModel):
    """A version of a dataset's labels."""

    id: str
    dataset_id: str
    version: int
    status: Literal["draft", "published"]
    total_annotations: int
    total_positive_duration_ms: int
    annotations_by_type: dict[str, int]
    created_at: str | None
    published_at: str | None


class AnnotationSetDetail(AnnotationSetRow):
    """A version of a dataset's labels with all of them."""

    annotations: list[AnnotationRow]


class AnnotationSetList(BaseModel):
    """Every version, the newest first."""

    items: list[AnnotationSetRow]
    total: int


class CreatedAnnotations(BaseModel):
    """The new labels, in the order of the request."""

    created: int
    annotations: list[AnnotationRow]


class TrainingConfigRow(BaseModel):
    """How a model learns."""

    artifact_types: list[str]
    epochs: int
    validation_split: float
    learning_rate: float
    batch_size: int
    chunk_size_ms: int
    stride_ms: int


class EpochRow(BaseModel):
    """What one epoch achieved; null where a figure is not finite."""

    epoch: int
    training_loss: float | None
    validation_loss: float | None
    validation_f1_score: float | None


class TrainingJobRow(BaseModel):
    """An order to train a model."""

    id: str
    tenant_id: str
    dataset_id: str
    annotation_set_id: str
    config: TrainingConfigRow
    status: DetectionStatus
    progress: float = Field(description="0 to 1.")
    metrics: list[EpochRow]
    model_id: str | None = Field(description="Once completed.")
    error_message: str | None
    created_at: str | None
    started_at: str | None
    completed_at: str | None


class TrainingJobPage(Page):
    """Orders to train, newest first."""

    items: list[TrainingJobRow]


class ClassScores(BaseModel):
    """How well one type is found."""

    precision: float
    recall: float
    f1_score: float
    support: int


class ModelScores(BaseModel):
    """How well everything is found, on the held-out files."""

    precision: float
    recall: float
    f1_score: float
    per_class: dict[str, ClassScores]


class ModelRow(BaseModel):
    """A trained model."""

    id: str
    name: str
    description: str | None
    artifact_types: list[str]
    training_job_id: str | None
    eval_metrics: ModelScores
    is_active: bool
    created_at: str | None


class ModelPage(Page):
    """Models, newest first."""

    items: list[ModelRow]


class InferenceConfigRow(BaseModel):
    """How a model's scores become detections."""

    threshold: float
    merge_window_ms: int
    min_duration_ms: int


class DetectionRow(BaseModel):
    """One found artifact."""

    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float


class InferenceFileRow(BaseModel):
    """One file of an order."""

    id: str
    inference_job_id: str
    original_filename: str
    duration_ms: int | None
    status: FileStatus
    error_message: str | None
    detections: list[DetectionRow]
    detection_count: int
    processed_at: str | None


class InferenceJobRow(BaseModel):
    """An order to run a model over files."""

    id: str
    tenant_id: str
    model_id: str
    config: InferenceConfigRow
    status: DetectionStatus
    total_files: int
    processed_files: int
    failed_files: int
    total_detections: int
    error_message: str | None
    created_at: str | None
    started_at: str | None
    completed_at: str | None


class InferenceJobDetail(InferenceJobRow):
    """An order with its files and what was found in them."""

    files: list[InferenceFileRow]


class InferenceJobPage(Page):
    """Orders to run models, newest first."""

    items: list[InferenceJobRow]


class AnnouncedFile(BaseModel):
    """How the bytes of a file are posted."""

    upload_url: str = Field(description="POST a multipart form here: every field, then `file`. No key; 204 once it is stored.")
    fields: dict[str, str]
    file_id: str
    expires_in: int = Field(description="Seconds.")


class ConfirmedFileRow(BaseModel):
    """What became of a posted file."""

    file_id: str
    status: FileStatus
    message: str
