"""The tables of datasets."""

from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, UniqueConstraint
from sqlmodel import Field

from services.mesh.columns import UtcDateTime, table_of
from services.storage.datasets import MAX_DESCRIPTION_CHARACTERS, MAX_NAME_CHARACTERS, MAX_TYPE_NAME_CHARACTERS, AudioState, SetState
from services.storage.domain import MAX_FILENAME_CHARACTERS
from services.storage.store.tables import Table

_Arguments: TypeAlias = tuple[CheckConstraint | Index | UniqueConstraint, ...]


def _one_of(states: type[AudioState] | type[SetState]) -> CheckConstraint:
    return CheckConstraint(f"state in ({', '.join(repr(state.value) for state in states)})", name="state")


class Dataset(Table, table=True):
    """A collection of audio. `last_version`: of its newest annotation set, deleted ones included."""

    __table_args__: ClassVar[_Arguments] = (Index("ix_dataset_workspace_id_owner_id", "workspace_id", "owner", "id"),)

    id: str = Field(primary_key=True, max_length=36)
    workspace_id: str = Field(max_length=36)
    owner: str = Field(max_length=255)
    name: str = Field(max_length=MAX_NAME_CHARACTERS)
    description: str = Field(max_length=MAX_DESCRIPTION_CHARACTERS)
    artifact_types: list[dict[str, str]] = Field(sa_type=JSON)
    last_version: int = Field(default=0)
    create_time: datetime = Field(sa_type=UtcDateTime)
    change_time: datetime = Field(sa_type=UtcDateTime)


class DatasetAudio(Table, table=True):
    """One audio file of a dataset, and how far its preparation is. `lease_id`: of who prepares it until `lease_time`."""

    __tablename__ = "dataset_audio"
    __table_args__: ClassVar[_Arguments] = (
        UniqueConstraint("dataset_id", "source_media_id"),
        UniqueConstraint("media_id"),
        _one_of(AudioState),
        Index("ix_dataset_audio_dataset_id_id", "dataset_id", "id"),
        Index("ix_dataset_audio_state_next_time", "state", "next_time"),
    )

    id: str = Field(primary_key=True, max_length=36)
    workspace_id: str = Field(max_length=36)
    dataset_id: str = Field(max_length=36)
    media_id: str = Field(max_length=36)
    source_media_id: str | None = Field(default=None, max_length=36)
    original_filename: str = Field(max_length=MAX_FILENAME_CHARACTERS)
    size_bytes: int = Field(sa_type=BigInteger)
    duration_ms: int = Field(default=0, sa_type=BigInteger)
    state: str = Field(max_length=16)
    error_message: str = Field(default="", max_length=500)
    features_id: str | None = Field(default=None, max_length=36)
    features_version: int = Field(default=0)
    attempts: int = Field(default=0)
    next_time: datetime = Field(sa_type=UtcDateTime)
    lease_id: str | None = Field(default=None, max_length=36)
    lease_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    create_time: datetime = Field(sa_type=UtcDateTime)


class AnnotationSet(Table, table=True):
    """A version of a dataset's labels. The statistics are those of the moment it was published; a draft's are counted anew."""

    __tablename__ = "annotation_set"
    __table_args__: ClassVar[_Arguments] = (UniqueConstraint("dataset_id", "version"), _one_of(SetState))

    id: str = Field(primary_key=True, max_length=36)
    workspace_id: str = Field(max_length=36)
    dataset_id: str = Field(max_length=36)
    version: int
    state: str = Field(max_length=16)
    total_annotations: int = Field(default=0, sa_type=BigInteger)
    total_positive_duration_ms: int = Field(default=0, sa_type=BigInteger)
    annotations_by_type: dict[str, int] = Field(default_factory=dict, sa_type=JSON)
    create_time: datetime = Field(sa_type=UtcDateTime)
    publish_time: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Annotation(Table, table=True):
    """One labelled stretch of one audio file."""

    __table_args__: ClassVar[_Arguments] = (
        CheckConstraint("start_ms >= 0 and end_ms > start_ms", name="span"),
        CheckConstraint("confidence >= 0 and confidence <= 1", name="confidence"),
        Index("ix_annotation_place", "annotation_set_id", "audio_id", "start_ms", "id"),
        Index("ix_annotation_audio_id", "audio_id"),
    )

    id: str = Field(primary_key=True, max_length=36)
    workspace_id: str = Field(max_length=36)
    dataset_id: str = Field(max_length=36)
    annotation_set_id: str = Field(max_length=36)
    audio_id: str = Field(max_length=36)
    artifact_type: str = Field(max_length=MAX_TYPE_NAME_CHARACTERS)
    start_ms: int = Field(sa_type=BigInteger)
    end_ms: int = Field(sa_type=BigInteger)
    confidence: float
    extra_data: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)


DATASET, AUDIO, SET, ANNOTATION = table_of(Dataset), table_of(DatasetAudio), table_of(AnnotationSet), table_of(Annotation)
