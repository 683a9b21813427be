"""The rules of datasets, their audio, their annotation sets and annotations, on plain values."""

import json
import math
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from services.mesh.errors import InvalidField
from services.storage.domain import MediaTooLarge, UnknownArtifactType, UnsupportedMedia, check_media_type

MAX_NAME_CHARACTERS = 255
MAX_DESCRIPTION_CHARACTERS = 2000
MAX_TYPE_NAME_CHARACTERS = 100
MAX_ARTIFACT_TYPES = 50
MAX_AUDIO_BYTES = 500 * 1024 * 1024
MAX_ANNOTATIONS_AT_ONCE = 1000
# A file's annotations reach the trainer in one message.
MAX_ANNOTATIONS_OF_FILE = 10_000
MAX_EXTRA_DATA_BYTES = 4096
MAX_EXTRA_DATA_TOGETHER_BYTES = 512 * 1024
MAX_OFFSET_MS = 1_000_000_000
MAX_PAGE_SIZE = 100
DEFAULT_PAGE_SIZE = 20
DEFAULT_COLOR = "#FF0000"
MAX_ATTEMPTS = 8
FORM_LIFETIME = timedelta(hours=1)
_FIRST_DELAY = timedelta(seconds=5)
_LONGEST_DELAY = timedelta(minutes=10)
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_CONTENT_TYPES = frozenset(
    {
        *("audio/wav", "audio/wave", "audio/x-wav", "audio/vnd.wave"),
        *("audio/mpeg", "audio/mp3", "audio/x-mp3", "audio/aac", "audio/aacp", "audio/x-aac"),
        *("audio/mp4", "audio/m4a", "audio/x-m4a", "video/mp4"),
        *("audio/ogg", "application/ogg", "audio/flac", "audio/x-flac", "audio/webm", "video/webm"),
    }
)


class AudioState(StrEnum):
    """How far the preparation of an audio file is."""

    PENDING = "pending"
    NORMALIZING = "normalizing"
    EMBEDDING = "embedding"
    READY = "ready"
    FAILED = "failed"


class SetState(StrEnum):
    """Whether an annotation set can still change."""

    DRAFT = "draft"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose datasets they are: somebody within a workspace."""

    workspace_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Place:
    """A page of a list: rows to leave out before it, and rows on it."""

    skip: int
    limit: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """How many annotations there are, how much audio their union covers, and how many are of each type."""

    total_annotations: int
    total_positive_duration_ms: int
    annotations_by_type: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Label:
    """One annotation as a client gives it."""

    audio_id: str
    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float
    extra_data: Mapping[str, Any]


def read_place(page: int, page_size: int) -> Place:
    """The rows of a page, counted from 1; 0 means the first page, and 20 rows. Raises InvalidField."""
    if page < 0:
        raise InvalidField("page is counted from 1.", field="page")
    if not 0 <= page_size <= MAX_PAGE_SIZE:
        raise InvalidField(f"page_size is 1 to {MAX_PAGE_SIZE}.", field="page_size")
    rows = page_size or DEFAULT_PAGE_SIZE
    return Place((max(page, 1) - 1) * rows, rows)


def check_name(name: str) -> str:
    """A dataset's name. Raises InvalidField."""
    return _text(name, "name", 1, MAX_NAME_CHARACTERS)


def check_description(description: str) -> str:
    """What a dataset is for. Raises InvalidField."""
    return _text(description, "description", 0, MAX_DESCRIPTION_CHARACTERS, lines=True)


def check_artifact_types(types: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The types with their colours filled in. Raises InvalidField."""
    if len(types) > MAX_ARTIFACT_TYPES:
        raise InvalidField(f"A dataset has at most {MAX_ARTIFACT_TYPES} artifact types.", field="artifact_types")
    checked = [_artifact_type(given) for given in types]
    if len({given["name"] for given in checked}) < len(checked):
        raise InvalidField("The names of a dataset's artifact types are unique.", field="artifact_types")
    return checked


def _artifact_type(given: Mapping[str, str]) -> dict[str, str]:
    color = given["color"] or DEFAULT_COLOR
    if _COLOR.fullmatch(color) is None:
        raise InvalidField('A colour is "#RRGGBB".', field="artifact_types.color")
    return {
        "name": _text(given["name"], "artifact_types.name", 1, MAX_TYPE_NAME_CHARACTERS),
        "description": _text(given["description"], "artifact_types.description", 0, MAX_DESCRIPTION_CHARACTERS, lines=True),
        "color": color,
    }


def _text(text: str, field: str, least: int, most: int, *, lines: bool = False) -> str:
    if not least <= len(text) <= most or (least and not text.strip()):
        raise InvalidField(f"{field} has {least} to {most} characters.", field=field)
    if any(unicodedata.category(character) == "Cc" and not (lines and character in "\n\r\t") for character in text):
        raise InvalidField(f"{field} has no control characters.", field=field)
    return text


def check_announcement(filename: str, content_type: str, size_bytes: int) -> None:
    """Whether such a file may come. Raises InvalidField, UnsupportedMedia, MediaTooLarge."""
    if not filename.strip():
        raise InvalidField("filename is missing.", field="filename")
    if check_media_type(content_type).partition(";")[0].strip().lower() not in _CONTENT_TYPES:
        raise UnsupportedMedia("Audio is WAV, MP3, MP4/M4A, OGG, FLAC, WebM or AAC.", content_type=content_type)
    if size_bytes < 1:
        raise InvalidField("size_bytes is at least 1.", field="size_bytes")
    if size_bytes > MAX_AUDIO_BYTES:
        raise MediaTooLarge(max_size_bytes=str(MAX_AUDIO_BYTES))


def check_label(label: Label, types: Collection[str], duration_ms: int) -> None:
    """Whether an annotation may be. duration_ms: of its file, 0 while unknown. Raises InvalidField, UnknownArtifactType."""
    if label.artifact_type not in types:
        raise UnknownArtifactType(artifact_type=label.artifact_type)
    if not 0 <= label.start_ms < MAX_OFFSET_MS:
        raise InvalidField("An annotation starts at 0 or later.", field="start_ms")
    if label.end_ms <= label.start_ms or label.end_ms > (duration_ms or MAX_OFFSET_MS):
        raise InvalidField("An annotation ends after its start, and within its file.", field="end_ms")
    if math.isnan(label.confidence) or not 0 <= label.confidence <= 1:
        raise InvalidField("confidence is 0 to 1.", field="confidence")
    _check_extra_data(label.extra_data)


def check_extra_data_together(labels: Iterable[Label]) -> None:
    """Whether what comes with annotations can be answered in one message. Raises InvalidField."""
    if sum(extra_data_bytes(label.extra_data) for label in labels) > MAX_EXTRA_DATA_TOGETHER_BYTES:
        raise InvalidField(f"The extra_data of a request has at most {MAX_EXTRA_DATA_TOGETHER_BYTES} bytes.", field="extra_data")


def extra_data_bytes(extra_data: Mapping[str, Any]) -> int:
    """Length as JSON; as a Struct it is up to six times as long."""
    return len(json.dumps(extra_data)) if extra_data else 2


def _check_extra_data(extra_data: Mapping[str, Any]) -> None:
    try:
        content = json.dumps(extra_data, allow_nan=False)
    except ValueError as error:
        raise InvalidField("extra_data is finite JSON.", field="extra_data") from error
    # Postgres takes no NUL in text.
    if len(content) > MAX_EXTRA_DATA_BYTES or "\\u0000" in content:
        raise InvalidField(f"extra_data has at most {MAX_EXTRA_DATA_BYTES} bytes of JSON, without NUL.", field="extra_data")


def preparation_delay(attempts: int) -> timedelta:
    """How long after a failed attempt the next one waits, unjittered."""
    return min(_LONGEST_DELAY, _FIRST_DELAY * float(2 ** max(0, attempts - 1)))
