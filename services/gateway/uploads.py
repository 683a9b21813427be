"""The file part of a form, on its way to storage or only hashed."""

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from services.gateway.data_plane import SignedPut
from services.gateway.domain import Reason, Refusal
from services.gateway.multipart import FileStart, FormReader
from services.gateway.peers import Peers
from services.gateway.vigil import Check, while_alive
from services.mesh import fault, semconv
from services.mesh.errors import MeshError
from services.mesh.telemetry import get_logger
from steno.storage.v1.media_pb2 import Media
from steno.storage.v1.storage_service_pb2 import (
    AbortUploadRequest,
    BeginUploadRequest,
    CommitUploadRequest,
    CommitUploadResponse,
    DeleteMediaRequest,
)

_FORGET_SECONDS = 3.0
_logger = get_logger("gateway.uploads")


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How large and how slow an upload may be."""

    max_size_bytes: int
    max_duration_ms: int
    stall_seconds: float
    commit_timeout_seconds: float


class FileSink(Protocol):
    """Where the bytes of the file go."""

    async def begin(self, filename: str) -> None:
        """The file begins."""

    async def write(self, data: bytes) -> None:
        """More of it."""


class HashSink:
    """Keeps nothing but the file's SHA-256."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    async def begin(self, filename: str) -> None:
        """Nothing to prepare."""

    async def write(self, data: bytes) -> None:
        """Hash some bytes."""
        self._digest.update(data)

    @property
    def sha256(self) -> str:
        """In hexadecimal."""
        return self._digest.hexdigest()


class Upload:
    """New media in storage. Unless it is kept, closing it leaves nothing behind."""

    def __init__(self, peers: Peers, limits: UploadLimits, alive: Check) -> None:
        self._storage = peers.storage
        self._trust = peers.trust
        self._alive = alive
        self._limits = limits
        self._media_id = ""
        self._put: SignedPut | None = None
        self._size_bytes = 0
        self._committed = False
        self._kept = False

    async def begin(self, filename: str) -> None:
        """Announce the file and start its PUT. Raises Refusal or RemoteError."""
        request = BeginUploadRequest(filename=filename, max_size_bytes=self._limits.max_size_bytes)
        answer = await self._storage.BeginUpload(request)
        self._media_id = answer.media.id
        fault.point("gateway.upload.after_begin")
        self._put = await SignedPut.open(answer.upload_url.url, stall_seconds=self._limits.stall_seconds, trust=self._trust)

    async def write(self, data: bytes) -> None:
        """Pass bytes on. Raises Refusal, also past the size limit."""
        self._size_bytes += len(data)
        if self._size_bytes > self._limits.max_size_bytes:
            raise too_large(self._limits.max_size_bytes)
        if self._put is not None and data:
            await self._put.write(data)

    async def commit(self) -> Media:
        """The complete, probed media. Raises Refusal or RemoteError."""
        if self._put is None:
            raise Refusal(Reason.NO_FILE)
        await while_alive(self._put.finish(self._limits.commit_timeout_seconds), self._alive)
        fault.point("gateway.upload.after_put")
        semconv.HTTP_UPLOAD_BYTES.inc(self._size_bytes)
        request = CommitUploadRequest(media_id=self._media_id, max_duration_ms=self._limits.max_duration_ms)
        answer = await while_alive(self._commit(request), self._alive)
        self._committed = True
        fault.point("gateway.upload.after_commit")
        return answer.media

    async def _commit(self, request: CommitUploadRequest) -> CommitUploadResponse:
        return await self._storage.CommitUpload(request, timeout=self._limits.commit_timeout_seconds)

    def keep(self, kept: bool) -> None:
        """Say whether a job has taken the media over, or may have."""
        self._kept = kept

    async def close(self) -> None:
        """End the PUT and forget what was not kept. A storage that cannot be reached forgets it later by itself."""
        if self._put is not None:
            await self._put.close()
        if self._kept or not self._media_id:
            return
        fault.point("gateway.upload.before_forget")
        try:
            await self._forget()
        except MeshError as error:
            _logger.warning("upload left behind", media_id=self._media_id, error=str(error))

    async def _forget(self) -> None:
        if self._committed:
            await self._storage.DeleteMedia(DeleteMediaRequest(media_id=self._media_id), timeout=_FORGET_SECONDS)
        else:
            await self._storage.AbortUpload(AbortUploadRequest(media_id=self._media_id), timeout=_FORGET_SECONDS)


@asynccontextmanager
async def open_upload(peers: Peers, limits: UploadLimits, alive: Check) -> AsyncIterator[Upload]:
    """An upload that leaves nothing behind unless kept. alive: whether storage answers."""
    upload = Upload(peers, limits, alive)
    try:
        yield upload
    finally:
        await upload.close()


async def receive_form(
    body: AsyncIterator[bytes], form: FormReader, sink: FileSink, *, max_size_bytes: int, before_file: Callable[[], None]
) -> None:
    """Read the whole form, its file into the sink. `before_file` may refuse what the fields so far say. Raises Refusal."""
    received = 0
    async for chunk in body:
        received += len(chunk)
        if received > max_size_bytes + form.limits.max_overhead_bytes:
            raise too_large(max_size_bytes)
        for event in form.feed(chunk):
            if isinstance(event, FileStart):
                before_file()
                await sink.begin(event.filename)
            else:
                await sink.write(event)
    form.finish()


def too_large(max_size_bytes: int) -> Refusal:
    """The refusal of a file past the limit."""
    return Refusal(Reason.FILE_TOO_LARGE, f"The file is larger than {max_size_bytes} bytes.", extra={"max_bytes": max_size_bytes})
