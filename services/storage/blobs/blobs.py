"""What storage asks of a place for bytes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

PIECE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class FormTerms:
    """What a form lets a client upload. An empty content_type leaves it open."""

    filename: str
    content_type: str
    min_size_bytes: int
    max_size_bytes: int
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class Form:
    """Where to POST a file as multipart, after which fields."""

    url: str
    fields: Mapping[str, str]
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class BlobEntry:
    """One blob found by listing."""

    key: str
    modify_time: datetime


class BlobMissing(Exception):
    """Bytes that a row speaks of are not in the store."""


class BlobWriter(Protocol):
    """Receives one blob, invisible until published. Blocking: it lives in a thread of its own."""

    def write(self, piece: bytes) -> None:
        """Append. Raises StoreFull, ServiceUnavailable."""

    def publish(self) -> None:
        """Make the blob durable, then visible. Raises StoreFull, ServiceUnavailable."""

    def discard(self) -> None:
        """Leave nothing of an unpublished blob behind; also after a failure, and more than once."""


class Blobs(Protocol):
    """A place for bytes. Keys are 32 hexadecimal digits; deleting is idempotent."""

    @property
    def store(self) -> str:
        """The place's name in signed URLs: "disk" or the bucket's."""

    def open_writer(self, key: str, disposition: str, expected_bytes: int) -> BlobWriter:
        """Start a blob; blocking. `expected_bytes` is 0 when unknown. Raises StoreFull, ServiceUnavailable."""

    def read(self, key: str, start: int, end: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Bytes start to end (exclusive) in pieces. Raises BlobMissing on entry, ServiceUnavailable."""

    def open_file(self, key: str) -> AbstractAsyncContextManager[int]:
        """A seekable, read-only descriptor of the whole blob. Raises BlobMissing, StoreFull, ServiceUnavailable."""

    async def delete(self, key: str) -> None:
        """Remove the bytes, if there. Raises ServiceUnavailable."""

    def entries(self) -> AsyncIterator[Sequence[BlobEntry]]:
        """All published blobs, in batches."""

    async def sweep_remnants(self, before: datetime) -> int:
        """Remove what broken writers left and nobody touched since; how many."""

    async def presign(self, key: str, lifetime: timedelta) -> str | None:
        """A URL of the place itself, or None where the data plane serves."""

    def form(self, key: str, terms: FormTerms, now: datetime) -> Form | None:
        """A form that puts one blob into the place itself, or None where the data plane takes forms."""

    async def size(self, key: str) -> int:
        """Bytes of a blob. Raises BlobMissing, ServiceUnavailable."""

    async def copy(self, key: str, new_key: str) -> None:
        """The same bytes under another key, whatever becomes of the first. Raises BlobMissing, StoreFull, ServiceUnavailable."""

    async def check(self) -> None:
        """Raises StoreFull or ServiceUnavailable when a write would."""
