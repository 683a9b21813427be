"""The rules of media and artefacts on plain values, and what can go wrong with them."""

import re
import unicodedata
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from urllib.parse import quote, unquote

from services.mesh.errors import (
    FailedPrecondition,
    InvalidArgument,
    InvalidField,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)

MAX_FILENAME_CHARACTERS = 255
MAX_MEDIA_TYPE_CHARACTERS = 127
FALLBACK_FILENAME = "upload"
OCTET_STREAM = "application/octet-stream"
SHORTEST_URL = timedelta(seconds=1)
LONGEST_URL = timedelta(hours=24)
DEFAULT_URL = timedelta(minutes=10)
MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 100
_EXTENDED_FILENAME = re.compile(r";\s*filename\*\s*=\s*(UTF-8|ISO-8859-1)'[A-Za-z0-9-]*'([^\s;]+)", re.IGNORECASE)
_PLAIN_FILENAME = re.compile(r";\s*filename\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;\"]+))", re.IGNORECASE)
_UNSAFE_IN_QUOTES = re.compile(r"[^ !#-\[\]-~]|%")


class State(StrEnum):
    """Where media or an artefact stands. Its bytes can be read only when it is ready."""

    UPLOADING = "uploading"
    READY = "ready"
    DELETED = "deleted"


class Kind(StrEnum):
    """What a data-plane path names; the value is its first segment."""

    MEDIA = "media"
    ARTEFACT = "artefacts"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What arrived: where it was put, its length and its SHA-256 in hexadecimal."""

    object_key: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Span:
    """Part of a list ordered by time and id: what comes after a place and begins before a time."""

    after: tuple[datetime, str]
    before: datetime


class MediaNotFound(NotFound):
    """No media has this id."""


class ArtefactNotFound(NotFound):
    """No artefact has this id."""


class UploadIncomplete(FailedPrecondition):
    """The announced bytes have not all arrived."""


class EmptyMedia(InvalidArgument):
    """The file has no bytes."""


class UnsupportedMedia(InvalidArgument):
    """The file is not audio or video that Steno reads."""


class BrokenMedia(InvalidArgument):
    """Nothing in the file decodes to audio."""


class MediaTooLarge(InvalidArgument):
    """The file has more bytes than allowed."""


class MediaTooLong(InvalidArgument):
    """The file holds more audio than allowed."""


class StoreFull(ResourceExhausted):
    """The store has no room."""


class InvalidSignature(PermissionDenied):
    """The URL is not signed for this, or its time is over."""


class LicenceNotAllowed(PermissionDenied):
    """The licence of this media does not allow Steno to fetch it."""


class SiteNotSupported(FailedPrecondition):
    """Steno does not fetch this from that site."""


class DatasetNotFound(NotFound):
    """No dataset has this id."""


class AudioNotFound(NotFound):
    """The dataset has no audio file with this id."""


class AnnotationSetNotFound(NotFound):
    """The dataset has no annotation set with this id."""


class AnnotationNotFound(NotFound):
    """The annotation set has no annotation with this id."""


class AnnotationSetPublished(FailedPrecondition):
    """A published annotation set does not change."""


class AnnotationSetEmpty(FailedPrecondition):
    """An annotation set without annotations cannot be published."""


class ArtifactTypeInUse(FailedPrecondition):
    """Annotations use this artifact type."""


class UnknownArtifactType(InvalidArgument):
    """The dataset does not declare this artifact type."""


class AudioInUse(FailedPrecondition):
    """A published annotation set has annotations of this audio file."""


REFUSALS: dict[str, type[InvalidArgument]] = {kind.reason(): kind for kind in (EmptyMedia, UnsupportedMedia, BrokenMedia, MediaTooLong)}


def not_found(kind: Kind, object_id: str) -> NotFound:
    """The error for an id that is unknown, foreign or deleted: all three look the same."""
    if kind is Kind.MEDIA:
        return MediaNotFound(media_id=object_id)
    return ArtefactNotFound(artefact_id=object_id)


def new_object_key() -> str:
    """A name in the store that says nothing about the owner, the file or the time."""
    return uuid.uuid4().hex


def clean_filename(name: str) -> str:
    """The name as people may see it: no directories, controls or direction marks, 255 characters at most."""
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    visible = (character for character in base if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))
    cleaned = unicodedata.normalize("NFC", "".join(visible)).strip()[:MAX_FILENAME_CHARACTERS].strip()
    return FALLBACK_FILENAME if cleaned in ("", ".", "..") else cleaned


def offered_filename(disposition: str, target: str) -> str:
    """The name that a server gives: in Content-Disposition (RFC 6266), else the last part of the URL's path; not cleaned."""
    if extended := _EXTENDED_FILENAME.search(disposition):
        return unquote(extended[2], encoding=extended[1], errors="replace")
    if plain := _PLAIN_FILENAME.search(disposition):
        return re.sub(r"\\(.)", r"\1", plain[1]) if plain[1] is not None else plain[2]
    return unquote(target.partition("?")[0].rpartition("/")[2], errors="replace")


def attachment(filename: str) -> str:
    """Content-Disposition of a download (RFC 6266, RFC 8187)."""
    plain = _UNSAFE_IN_QUOTES.sub("_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def size_limit(asked_bytes: int, most_bytes: int) -> int:
    """The most bytes to accept of one upload. Nothing asked means the service's own limit."""
    if asked_bytes < 0:
        raise InvalidField(field="max_size_bytes")
    return min(asked_bytes or most_bytes, most_bytes)


def duration_limit(asked_ms: int, most_ms: int) -> int:
    """The longest audio to accept. Nothing asked means the service's own limit."""
    if asked_ms < 0:
        raise InvalidField(field="max_duration_ms")
    return min(asked_ms or most_ms, most_ms)


def page_size(asked: int) -> int:
    """Rows on a page. Raises InvalidField out of 0 to 1000."""
    if not 0 <= asked <= MAX_PAGE_SIZE:
        raise InvalidField(f"page_size is 1 to {MAX_PAGE_SIZE}, or 0 for {DEFAULT_PAGE_SIZE}.", field="page_size")
    return asked or DEFAULT_PAGE_SIZE


def url_lifetime(asked: timedelta | None) -> timedelta:
    """How long a URL to read from shall work. Raises InvalidField outside of 1 second to 24 hours."""
    if asked is None:
        return DEFAULT_URL
    if not SHORTEST_URL <= asked <= LONGEST_URL:
        raise InvalidField(field="ttl")
    return asked


def check_media_type(media_type: str) -> str:
    """A MIME type fit for a header. Raises InvalidField."""
    main, slash, sub = media_type.partition("/")
    if not (main and slash and sub) or len(media_type) > MAX_MEDIA_TYPE_CHARACTERS:
        raise InvalidField(field="media_type")
    if not (media_type.isascii() and media_type.isprintable()):
        raise InvalidField(field="media_type")
    return media_type
