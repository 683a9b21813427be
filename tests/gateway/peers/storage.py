"""Media and artefacts."""

import hashlib
from typing import Any

from services.mesh.errors import FailedPrecondition, InvalidArgument, NotFound
from services.mesh.identity import current_caller
from services.mesh.ids import new_id
from steno.storage.v1 import storage_service_pb2 as storage
from steno.storage.v1 import storage_service_pb2_grpc as storage_grpc
from steno.storage.v1.media_pb2 import Media, SignedUrl
from tests.gateway.peers.world import World


class MediaNotFound(NotFound):
    """No such media."""


class ArtefactNotFound(NotFound):
    """No such artefact."""


class EmptyMedia(InvalidArgument):
    """No bytes."""


class UnsupportedMedia(InvalidArgument):
    """No audio."""


class BrokenMedia(InvalidArgument):
    """Nothing decodes."""


class MediaTooLong(InvalidArgument):
    """The file holds more audio than allowed."""


class UploadIncomplete(FailedPrecondition):
    """Not all there."""


REFUSED_MEDIA: dict[bytes, type[InvalidArgument]] = {b"TEXT": UnsupportedMedia, b"BROKEN": BrokenMedia, b"LONG": MediaTooLong}


class StoragePeer(storage_grpc.StorageServiceServicer):
    """Media and artefacts in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _mine(self, media_id: str) -> Media:
        media = self.world.media.get(media_id)
        if media is None or media.workspace_id != current_caller().workspace_id:
            raise MediaNotFound
        return media

    async def BeginUpload(self, request: Any, context: Any) -> storage.BeginUploadResponse:
        media = Media(id=new_id(), workspace_id=current_caller().workspace_id, filename=request.filename, state=Media.STATE_UPLOADING)
        self.world.media[media.id] = media
        url = SignedUrl(url=f"{self.world.data_url}/media/{media.id}?expires=1&signature=a", store="disk")
        return storage.BeginUploadResponse(media=media, upload_url=url)

    async def CommitUpload(self, request: Any, context: Any) -> storage.CommitUploadResponse:
        media = self._mine(request.media_id)
        if media.id not in self.world.complete:
            raise UploadIncomplete
        content = bytes(self.world.blobs[media.id])
        if not content:
            raise EmptyMedia
        for start, error in REFUSED_MEDIA.items():
            if content.startswith(start):
                raise error
        media.state = Media.STATE_READY
        media.size_bytes = len(content)
        media.sha256 = hashlib.sha256(content).hexdigest()
        media.probe.duration_ms = 1000
        return storage.CommitUploadResponse(media=media)

    async def GetMedia(self, request: Any, context: Any) -> storage.GetMediaResponse:
        return storage.GetMediaResponse(media=self._mine(request.media_id))

    async def AbortUpload(self, request: Any, context: Any) -> storage.AbortUploadResponse:
        self._forget(request.media_id)
        self.world.aborted.append(request.media_id)
        return storage.AbortUploadResponse()

    async def DeleteMedia(self, request: Any, context: Any) -> storage.DeleteMediaResponse:
        self._forget(request.media_id)
        self.world.deleted.append(request.media_id)
        return storage.DeleteMediaResponse()

    def _forget(self, media_id: str) -> None:
        self._mine(media_id)
        del self.world.media[media_id]
        self.world.blobs.pop(media_id, None)

    async def SignMediaUrl(self, request: Any, context: Any) -> storage.SignMediaUrlResponse:
        media = self._mine(request.media_id)
        url = SignedUrl(url=f"{self.world.data_url}/media/{media.id}?expires=1&signature=a", store="disk")
        if self.world.bucket_url:
            url = SignedUrl(url=f"{self.world.bucket_url}/{media.id}?signature=a", store="recordings")
        url.expire_time.GetCurrentTime()
        url.expire_time.seconds += 600
        return storage.SignMediaUrlResponse(download_url=url)

    async def SignArtefactUrl(self, request: Any, context: Any) -> storage.SignArtefactUrlResponse:
        if request.artefact_id not in self.world.blobs:
            raise ArtefactNotFound
        self.world.signed_by.append(f"{current_caller().kind}:{current_caller().service}:{current_caller().workspace_id}")
        url = f"{self.world.data_url}/artefacts/{request.artefact_id}?expires=1&signature=a"
        return storage.SignArtefactUrlResponse(download_url=SignedUrl(url=url, store="disk"))
