"""Blobs as objects of an S3 bucket."""

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from services.mesh import fault
from services.mesh.errors import ServiceUnavailable
from services.storage.blobs.blobs import PIECE_BYTES, BlobEntry, BlobMissing, BlobWriter, Form, FormTerms
from services.storage.blobs.post_policy import Credentials, PostTarget, post_form
from services.storage.domain import OCTET_STREAM, StoreFull

if TYPE_CHECKING:
    from obstore.store import S3Config

_PART_BYTES = 8 * 1024 * 1024
_PARTS_IN_FLIGHT = 2
_LIST_BATCH = 500
_TRIES = 3
_LONGEST_TRANSFER = timedelta(hours=1)
_KEY = re.compile(r"[0-9a-f]{32}")
# MinIO and Ceph answer these codes when the disks or the quota behind a bucket are full.
_FULL = re.compile(r"XMinioStorageFull|QuotaExceeded|InsufficientStorage|507")


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket and how to reach it. An empty endpoint means the region's own."""

    bucket: str
    prefix: str
    region: str
    endpoint: str
    access_key_id: str
    secret_access_key: str
    timeout: timedelta


def open_bucket(location: S3Location) -> S3Store:
    """A client of the bucket; nothing is asked of it yet. Empty credentials mean the environment's own."""
    return S3Store(
        location.bucket,
        config=_config(location),
        client_options={
            "allow_http": location.endpoint.startswith("http://"),
            "connect_timeout": location.timeout,
            "read_timeout": location.timeout,
            "timeout": _LONGEST_TRANSFER,
        },
        retry_config={"max_retries": _TRIES, "retry_timeout": location.timeout},
    )


def _config(location: S3Location) -> "S3Config":
    config: S3Config = {"region": location.region, "virtual_hosted_style_request": not location.endpoint}
    if location.endpoint:
        config["endpoint"] = location.endpoint
    if location.access_key_id:
        config["access_key_id"] = location.access_key_id
        config["secret_access_key"] = location.secret_access_key
    return config


class S3Blobs:
    """A bucket: `<prefix><key>`, with probes and checks spooled to `spool`.

    presigned: clients may reach the bucket. credentials: sign forms for them; without any the data plane takes forms.
    """

    def __init__(self, location: S3Location, spool: Path, presigned: bool, credentials: Credentials | None = None) -> None:
        self.store = location.bucket
        self._bucket = open_bucket(location)
        self._prefix = location.prefix
        self._spool = spool
        self._presigned = presigned
        self._credentials = credentials
        self._target = PostTarget(location.bucket, location.region, location.endpoint)

    def open_writer(self, key: str, disposition: str, expected_bytes: int) -> BlobWriter:
        """Start a multipart upload; its attributes make the bucket's own URL download, never display."""
        return MultipartWriter(self._bucket, self._name(key), disposition)

    @asynccontextmanager
    async def read(self, key: str, start: int, end: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The object's bytes as they arrive."""
        with _translated(key):
            found = await obstore.get_async(self._bucket, self._name(key), options={"range": (start, end)})
        yield _pieces(found, key)

    @asynccontextmanager
    async def open_file(self, key: str) -> AsyncIterator[int]:
        """The object, fetched into a file that has no name."""
        with tempfile.TemporaryFile(dir=self._spool, buffering=0) as file:
            with _translated(key):
                found = await obstore.get_async(self._bucket, self._name(key))
                async for piece in found.stream(min_chunk_size=_PART_BYTES):
                    await asyncio.to_thread(_write_all, file.fileno(), memoryview(piece))
            os.lseek(file.fileno(), 0, os.SEEK_SET)
            yield file.fileno()

    async def delete(self, key: str) -> None:
        """Delete the object."""
        with _translated():
            await obstore.delete_async(self._bucket, self._name(key))

    async def entries(self) -> AsyncIterator[Sequence[BlobEntry]]:
        """All objects under the prefix that are named as ours are."""
        with _translated():
            async for batch in obstore.list(self._bucket, prefix=self._prefix, chunk_size=_LIST_BATCH):
                named = ((meta["path"].rpartition("/")[2], meta["last_modified"]) for meta in batch)
                yield [BlobEntry(name, changed) for name, changed in named if _KEY.fullmatch(name)]

    async def sweep_remnants(self, before: datetime) -> int:
        """0: parts of a killed process are the bucket's AbortIncompleteMultipartUpload rule's to remove."""
        return 0

    async def presign(self, key: str, lifetime: timedelta) -> str | None:
        """The bucket's own URL to GET the object."""
        if not self._presigned:
            return None
        return await obstore.sign_async(self._bucket, "GET", self._name(key), lifetime)

    def form(self, key: str, terms: FormTerms, now: datetime) -> Form | None:
        """The bucket's own form, where clients may reach the bucket."""
        if not self._presigned or self._credentials is None:
            return None
        return post_form(self._target, self._credentials, self._name(key), terms, now)

    async def size(self, key: str) -> int:
        """Length of the object."""
        with _translated(key):
            return (await obstore.head_async(self._bucket, self._name(key)))["size"]

    async def copy(self, key: str, new_key: str) -> None:
        """The object again, by the bucket itself."""
        with _translated(key):
            await obstore.copy_async(self._bucket, self._name(key), self._name(new_key))

    async def check(self) -> None:
        """Ask for an object that cannot be there: the bucket, the way and the credentials answer."""
        with _translated():
            try:
                await obstore.head_async(self._bucket, self._name("health"))
            except FileNotFoundError:
                return

    def _name(self, key: str) -> str:
        return self._prefix + key


class MultipartWriter:
    """One object on its way in."""

    def __init__(self, bucket: S3Store, name: str, disposition: str) -> None:
        self._writer = obstore.open_writer(
            bucket,
            name,
            attributes={"Content-Disposition": disposition, "Content-Type": OCTET_STREAM},
            buffer_size=_PART_BYTES,
            max_concurrency=_PARTS_IN_FLIGHT,
        )
        self._ended = False

    def write(self, piece: bytes) -> None:
        """Append; whole parts leave at once."""
        with _translated():
            self._writer.write(piece)

    def publish(self) -> None:
        """Send the rest and complete the upload."""
        fault.point("storage.object.before_complete")
        with _translated():
            self._writer.close()
        self._ended = True
        fault.point("storage.object.after_complete")

    def discard(self) -> None:
        """Abort the upload, so that its parts are not kept."""
        if self._ended:
            return
        self._ended = True
        error = BaseError("discarded")
        with _translated():
            self._writer.__exit__(type(error), error, None)


async def _pieces(found: "obstore.GetResult", key: str) -> AsyncIterator[bytes]:
    with _translated(key):
        async for piece in found.stream(min_chunk_size=PIECE_BYTES):
            yield bytes(piece)


def _write_all(descriptor: int, rest: memoryview) -> None:
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@contextmanager
def _translated(key: str = "") -> Iterator[None]:
    """What the bucket says, as an error of the mesh. Its text may hold addresses and is only a cause."""
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissing(key) from error
    except BaseError as error:
        if _FULL.search(str(error)):
            raise StoreFull from error
        raise ServiceUnavailable(service="storage") from error
