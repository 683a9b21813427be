"""StorageService: messages to use cases and back."""

from datetime import UTC, datetime
from typing import Any, TypeAlias

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from services.mesh.errors import InvalidField
from services.storage.blobs.blobs import Form
from services.storage.domain import State
from services.storage.rpc.callers import lifetime_of, workspace_of_call
from services.storage.signing import Grant
from services.storage.store.tables import Artefact, Media
from services.storage.usecases import deletion, listing, posting, reading, uploads
from services.storage.usecases.depot import Depot
from services.storage.usecases.fetching import Fetcher, Order, fetch_media
from services.storage.usecases.reading import Address
from steno.storage.v1 import media_pb2
from steno.storage.v1 import storage_service_pb2 as messages
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceServicer

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
_STATES = {
    State.UPLOADING: media_pb2.Media.STATE_UPLOADING,
    State.READY: media_pb2.Media.STATE_READY,
    State.DELETED: media_pb2.Media.STATE_DELETED,
}


class StorageRpc(StorageServiceServicer):
    """The workspace of every call is the caller's."""

    def __init__(self, depot: Depot, fetcher: Fetcher) -> None:
        self._depot = depot
        self._fetcher = fetcher

    async def BeginUpload(self, request: messages.BeginUploadRequest, context: Context) -> messages.BeginUploadResponse:
        """Announce media."""
        media, grant = await uploads.begin_upload(self._depot, workspace_of_call(), request.filename, request.max_size_bytes)
        return messages.BeginUploadResponse(media=media_proto(media), upload_url=self._upload_url(grant))

    async def SignUpload(self, request: messages.SignUploadRequest, context: Context) -> messages.SignUploadResponse:
        """Where to PUT announced media, again."""
        grant = await uploads.sign_upload(self._depot, workspace_of_call(), request.media_id, request.max_size_bytes)
        return messages.SignUploadResponse(upload_url=self._upload_url(grant))

    async def SignUploadForm(self, request: messages.SignUploadFormRequest, context: Context) -> messages.SignUploadFormResponse:
        """How to POST announced media."""
        sizes = request.min_size_bytes, request.max_size_bytes
        form = await posting.sign_upload_form(self._depot, workspace_of_call(), request.media_id, request.content_type, *sizes)
        return messages.SignUploadFormResponse(upload_form=form_proto(form))

    async def CommitUpload(self, request: messages.CommitUploadRequest, context: Context) -> messages.CommitUploadResponse:
        """Probe uploaded media and make it readable."""
        media = await uploads.commit_upload(self._depot, workspace_of_call(), request.media_id, request.max_duration_ms)
        return messages.CommitUploadResponse(media=media_proto(media))

    async def FetchMedia(self, request: messages.FetchMediaRequest, context: Context) -> messages.FetchMediaResponse:
        """Fetch media from a URL."""
        order = Order(workspace_of_call(), request.media_id, request.url, request.max_size_bytes, request.max_duration_ms)
        return messages.FetchMediaResponse(media=media_proto(await fetch_media(self._depot, self._fetcher, order)))

    async def AbortUpload(self, request: messages.AbortUploadRequest, context: Context) -> messages.AbortUploadResponse:
        """Forget an upload."""
        await deletion.delete_media(self._depot, workspace_of_call(), request.media_id)
        return messages.AbortUploadResponse()

    async def GetMedia(self, request: messages.GetMediaRequest, context: Context) -> messages.GetMediaResponse:
        """One media."""
        return messages.GetMediaResponse(media=media_proto(await reading.get_media(self._depot, workspace_of_call(), request.media_id)))

    async def ListMedia(self, request: messages.ListMediaRequest, context: Context) -> messages.ListMediaResponse:
        """Ready media of every workspace."""
        if not request.HasField("create_time_before"):
            raise InvalidField(field="create_time_before")
        begin, before = _moment(request.create_time_from), _moment(request.create_time_before)
        page = await listing.list_media(self._depot, begin, before, request.page_size, request.page_token)
        return messages.ListMediaResponse(media=map(media_proto, page.media), next_page_token=page.next_page_token)

    async def SignMediaUrl(self, request: messages.SignMediaUrlRequest, context: Context) -> messages.SignMediaUrlResponse:
        """Where to read media."""
        lifetime = lifetime_of(request.ttl) if request.HasField("ttl") else None
        address = await reading.sign_media_url(self._depot, workspace_of_call(), request.media_id, lifetime)
        return messages.SignMediaUrlResponse(download_url=url_proto(address))

    async def DeleteMedia(self, request: messages.DeleteMediaRequest, context: Context) -> messages.DeleteMediaResponse:
        """Delete media."""
        await deletion.delete_media(self._depot, workspace_of_call(), request.media_id)
        return messages.DeleteMediaResponse()

    async def BeginArtefact(self, request: messages.BeginArtefactRequest, context: Context) -> messages.BeginArtefactResponse:
        """Announce an artefact."""
        artefact, grant = await uploads.begin_artefact(self._depot, workspace_of_call(), request.media_type, request.max_size_bytes)
        return messages.BeginArtefactResponse(artefact=artefact_proto(artefact), upload_url=self._upload_url(grant))

    async def CommitArtefact(self, request: messages.CommitArtefactRequest, context: Context) -> messages.CommitArtefactResponse:
        """Make an artefact readable."""
        artefact = await uploads.commit_artefact(self._depot, workspace_of_call(), request.artefact_id)
        return messages.CommitArtefactResponse(artefact=artefact_proto(artefact))

    async def SignArtefactUrl(self, request: messages.SignArtefactUrlRequest, context: Context) -> messages.SignArtefactUrlResponse:
        """Where to read an artefact."""
        lifetime = lifetime_of(request.ttl) if request.HasField("ttl") else None
        address = await reading.sign_artefact_url(self._depot, workspace_of_call(), request.artefact_id, lifetime)
        return messages.SignArtefactUrlResponse(download_url=url_proto(address))

    async def DeleteArtefact(self, request: messages.DeleteArtefactRequest, context: Context) -> messages.DeleteArtefactResponse:
        """Delete an artefact."""
        await deletion.delete_artefact(self._depot, workspace_of_call(), request.artefact_id)
        return messages.DeleteArtefactResponse()

    def _upload_url(self, grant: Grant) -> media_pb2.SignedUrl:
        # Uploads always come through the data plane: it is what hashes and limits them.
        return url_proto(Address(self._depot.signer.sign(grant), grant.expire_time, self._depot.blobs.store))


def _moment(time: Timestamp) -> datetime:
    """Aware UTC; 1970 for an absent one. Raises InvalidField past the year 9999."""
    try:
        return time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidField(field="create_time") from error


def media_proto(media: Media) -> media_pb2.Media:
    """Media as others see it."""
    message = media_pb2.Media(
        id=media.id,
        workspace_id=media.workspace_id,
        state=_STATES[State(media.state)],
        filename=media.filename,
        size_bytes=media.size_bytes,
        sha256=media.sha256,
        probe=probe_proto(media) if media.state == State.READY else None,
    )
    message.create_time.FromDatetime(media.create_time)
    return message


def probe_proto(media: Media) -> media_pb2.Probe:
    """What was found in ready media."""
    return media_pb2.Probe(
        container=media.container,
        codec=media.codec,
        media_type=media.media_type,
        duration_ms=media.duration_ms,
        sample_rate_hz=media.sample_rate_hz,
        channels=media.channels,
        has_video=media.has_video,
    )


def artefact_proto(artefact: Artefact) -> media_pb2.Artefact:
    """An artefact as others see it."""
    message = media_pb2.Artefact(
        id=artefact.id,
        workspace_id=artefact.workspace_id,
        media_type=artefact.media_type,
        size_bytes=artefact.size_bytes,
        sha256=artefact.sha256,
    )
    message.create_time.FromDatetime(artefact.create_time)
    return message


def url_proto(address: Address) -> media_pb2.SignedUrl:
    """An address as others see it."""
    message = media_pb2.SignedUrl(url=address.url, store=address.store)
    message.expire_time.FromDatetime(address.expire_time)
    return message


def form_proto(form: Form) -> media_pb2.UploadForm:
    """A form as others see it."""
    message = media_pb2.UploadForm(url=form.url, fields=form.fields)
    message.expire_time.FromDatetime(form.expire_time)
    return message
