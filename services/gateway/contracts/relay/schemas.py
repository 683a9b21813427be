"""What clients of the Relay contract send, read strictly."""

import math
from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from services.gateway.contracts.relay.rows import MAX_EXACT

MAX_FILE_BYTES = 500 * 1024**2
MAX_BULK_BYTES = 1024**2
MAX_BULK = 1000
_MAX_TYPES = 50
_MAX_MS = 1_000_000_000
_CHUNK_MS = (100, 10_000)
_MIN_STRIDE_MS, _STRIDE_MS = 50, 250
_MAX_DEPTH = 8


def _without_nul(text: str) -> str:
    """No database keeps the character."""
    if "\0" in text:
        raise ValueError("the text has a NUL character")
    return text


def _storable(value: object, depth: int = 1) -> None:
    """What comes back as it was sent. Raises ValueError."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"extra_data is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, str):
        _without_nul(value)
    elif isinstance(value, int | float) and not _exact(value):
        raise ValueError("extra_data has a number that would not come back as it was sent")
    for part in _parts(value):
        _storable(part, depth + 1)


def _exact(value: float) -> bool:
    """Whether a number is the double that it is kept as."""
    return math.isfinite(value) if isinstance(value, float) else abs(value) <= MAX_EXACT


def _parts(value: object) -> Sequence[object]:
    """Keys and values of an object, items of an array."""
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else ()


def _stored(value: dict[str, object]) -> dict[str, object]:
    _storable(value)
    return value


Id = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", to_lower=True),
    WithJsonSchema({"type": "string", "format": "uuid"}),
]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
TypeName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Text = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_without_nul)]
Color = Annotated[str, StringConstraints(pattern=r"^#[0-9A-Fa-f]{6}$")]
Moment = Annotated[int, Field(ge=0, le=_MAX_MS, description="Milliseconds from the file's start.")]
End = Annotated[int, Field(ge=1, le=_MAX_MS, description="More than start_ms.")]
Confidence = Annotated[float, Field(ge=0, le=1)]
ExtraData = Annotated[dict[str, object], AfterValidator(_stored), WithJsonSchema({"type": "object", "additionalProperties": True})]


class _Asked(BaseModel):
    """Numbers are numbers and texts are texts: nothing is made of something else."""

    model_config = ConfigDict(strict=True)


class _Changes(_Asked):
    """What of something changes; what is left out stays."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("name at least one field to change")
        return self


class ArtifactTypeFields(_Asked):
    """One kind of sound to annotate."""

    name: TypeName
    description: Text | None = None
    color: Color = "#FF0000"


TypeList = Annotated[list[ArtifactTypeFields], Field(max_length=_MAX_TYPES)]


def _unique(types: TypeList) -> TypeList:
    if len({each.name for each in types}) < len(types):
        raise ValueError("two artifact types have one name")
    return types


UniqueTypes = Annotated[TypeList, AfterValidator(_unique)]


class NewDataset(_Asked):
    """A dataset to make."""

    name: Name
    description: Text | None = None
    artifact_types: UniqueTypes = Field(default_factory=list)


class DatasetChanges(_Changes):
    """What of a dataset changes; what is left out stays."""

    name: Name = Field(default_factory=str)
    description: Text | None = None
    artifact_types: UniqueTypes = Field(default_factory=list)


class NewFile(_Asked):
    """A file to announce."""

    filename: Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_without_nul)]
    content_type: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+$")] = Field(
        examples=["audio/wav"], description="WAV, MP3, MP4 or M4A, OGG, FLAC, WebM or AAC."
    )
    file_size: int = Field(ge=1, le=MAX_FILE_BYTES, description="Bytes; exactly so many must arrive.")


class ConfirmedAudio(_Asked):
    """An audio file whose bytes were posted."""

    audio_id: Id


class SourceJob(_Asked):
    """A finished transcription."""

    job_id: Id


class NewAnnotation(_Asked):
    """A stretch of audio to label."""

    audio_file_id: Id
    artifact_type: TypeName
    start_ms: Moment
    end_ms: End
    confidence: Confidence = 1.0
    extra_data: ExtraData = Field(default_factory=dict)

    @field_validator("end_ms")
    @classmethod
    def _after_the_start(cls, value: int, info: ValidationInfo) -> int:
        return _after(value, info)


class NewAnnotations(_Asked):
    """Stretches to label, all of them or none."""

    annotations: list[NewAnnotation] = Field(min_length=1, max_length=MAX_BULK)


class AnnotationChanges(_Changes):
    """What of an annotation changes; what is left out stays."""

    audio_file_id: Id = Field(default_factory=str)
    artifact_type: TypeName = Field(default_factory=str)
    start_ms: Moment = Field(default_factory=int)
    end_ms: End = Field(default_factory=int)
    confidence: Confidence = Field(default_factory=float)
    extra_data: ExtraData = Field(default_factory=dict)

    @field_validator("end_ms")
    @classmethod
    def _after_the_start(cls, value: int, info: ValidationInfo) -> int:
        return _after(value, info)


def _after(value: int, info: ValidationInfo) -> int:
    """A start that is refused itself, or not changed here, says nothing of the end."""
    if value <= info.data.get("start_ms", -1):
        raise ValueError("end_ms is not after start_ms")
    return value


class TrainingConfigFields(_Asked):
    """How a model learns."""

    artifact_types: list[TypeName] = Field(min_length=1, max_length=_MAX_TYPES, description="The types to learn, by name.")
    epochs: int = Field(20, ge=1, le=100)
    validation_split: float = Field(0.2, ge=0.1, le=0.5)
    learning_rate: float = Field(0.001, ge=0.0001, le=0.1)
    batch_size: int = Field(32, ge=8, le=256)
    chunk_size_ms: int = Field(500, ge=_CHUNK_MS[0], le=_CHUNK_MS[1])
    stride_ms: int = Field(_STRIDE_MS, ge=_MIN_STRIDE_MS, le=_CHUNK_MS[1], description="At most chunk_size_ms, also where it is left out.")

    @field_validator("artifact_types")
    @classmethod
    def _each_once(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("an artifact type is named twice")
        return value

    @field_validator("stride_ms")
    @classmethod
    def _within_a_chunk(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("chunk_size_ms", value):
            raise ValueError("stride_ms is more than chunk_size_ms")
        return value

    @model_validator(mode="after")
    def _stride_of_short_chunks(self) -> Self:
        if "stride_ms" not in self.model_fields_set:
            self.stride_ms = min(_STRIDE_MS, self.chunk_size_ms)
        return self


class NewTraining(_Asked):
    """A model to train."""

    dataset_id: Id
    annotation_set_id: Id
    config: TrainingConfigFields


class ModelChanges(_Changes):
    """What of a model changes; what is left out stays."""

    name: Name = Field(default_factory=str)
    description: Text | None = None
    is_active: bool = Field(default_factory=bool)


class InferenceConfigFields(_Asked):
    """How a model's scores become detections."""

    threshold: float = Field(0.5, ge=0, le=1)
    merge_window_ms: int = Field(200, ge=0, le=5000)
    min_duration_ms: int = Field(50, ge=0, le=1000)


class NewInference(_Asked):
    """An order to run a model over files."""

    model_id: Id
    config: InferenceConfigFields = Field(default_factory=InferenceConfigFields)


class ConfirmedFile(_Asked):
    """A file whose bytes were posted."""

    file_id: Id


class PageFields(BaseModel):
    """Query of a list."""

    page: int = Field(1, ge=1)
    page_size: int = Field(20, ge=1, le=100)


class ModelQuery(PageFields):
    """Query of the models."""

    is_active: bool | None = Field(None, description="Only those that are, or are not.")


class PostedForm(BaseModel):
    """What an upload's form has beside its file: the fields that came with its URL."""

    model_config = ConfigDict(extra="allow")
