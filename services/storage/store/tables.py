"""The tables of storage."""

from datetime import datetime
from typing import ClassVar

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlmodel import Field, SQLModel

from services.mesh.columns import UtcDateTime, table_registry
from services.mesh.outbox import outbox_table
from services.storage.domain import MAX_FILENAME_CHARACTERS, MAX_MEDIA_TYPE_CHARACTERS, OCTET_STREAM, Kind, State

_OF_DATASET = "dataset_id is not null"


class Table(SQLModel, registry=table_registry()):
    """Where storage's tables are registered."""


class StoredObject(Table):
    """What media and artefacts have in common. `object_key` is set with the first bytes that arrived whole."""

    id: str = Field(primary_key=True, max_length=36)
    workspace_id: str = Field(max_length=36)
    state: str = Field(max_length=16)
    object_key: str | None = Field(default=None, max_length=32, unique=True)
    size_bytes: int = Field(default=0, sa_type=BigInteger)
    sha256: str = Field(default="", max_length=64)
    media_type: str = Field(default=OCTET_STREAM, max_length=MAX_MEDIA_TYPE_CHARACTERS)
    create_time: datetime = Field(sa_type=UtcDateTime)
    change_time: datetime = Field(sa_type=UtcDateTime)


def _constraints(table: str) -> tuple[CheckConstraint | Index, ...]:
    unsettled = text(f"state <> '{State.READY}'")
    return (
        CheckConstraint(f"state in ({', '.join(repr(state.value) for state in State)})", name="state"),
        CheckConstraint(f"state <> '{State.READY}' or (object_key is not null and sha256 <> '')", name="ready"),
        # The workers look for what is not ready, which is little of a large table.
        Index(f"ix_{table}_unsettled", "state", "change_time", sqlite_where=unsettled, postgresql_where=unsettled),
    )


class Media(StoredObject, table=True):
    """Uploaded audio or video, with what its probe found.

    dataset_id: whose audio it is; such media is reached through its dataset only. upload_key: where a form in the bucket puts its bytes.
    """

    __table_args__: ClassVar[tuple[CheckConstraint | Index, ...]] = (
        *_constraints("media"),
        Index("ix_media_create_time_id", "create_time", "id"),
        Index("ix_media_dataset_id", "dataset_id", sqlite_where=text(_OF_DATASET), postgresql_where=text(_OF_DATASET)),
    )

    filename: str = Field(max_length=MAX_FILENAME_CHARACTERS)
    container: str = Field(default="", max_length=32)
    codec: str = Field(default="", max_length=32)
    duration_ms: int = Field(default=0, sa_type=BigInteger)
    sample_rate_hz: int = Field(default=0)
    channels: int = Field(default=0)
    has_video: bool = Field(default=False)
    dataset_id: str | None = Field(default=None, max_length=36)
    upload_key: str | None = Field(default=None, max_length=32)


class Artefact(StoredObject, table=True):
    """Bytes that a service made."""

    __table_args__: ClassVar[tuple[CheckConstraint | Index, ...]] = _constraints("artefact")


METADATA = Table.metadata
OUTBOX = outbox_table(METADATA)
MODELS: dict[Kind, type[Media] | type[Artefact]] = {Kind.MEDIA: Media, Kind.ARTEFACT: Artefact}
