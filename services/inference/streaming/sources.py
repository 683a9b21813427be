"""Where the audio of a call comes from: media in storage, or the bytes of the request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from services.inference.artefacts import media_url
from services.inference.audio import Audio, open_audio
from services.inference.charging import Charge
from services.inference.domain import MediaNotFound
from services.inference.recordings import open_recording
from services.inference.room import decode_limit_ms, has_room
from services.media.decode import BYTES_PER_MS
from services.media.sandbox import OnProgress, Sandbox
from services.mesh.errors import AccessDenied, InvalidField, ServiceUnavailable
from services.mesh.identity import Caller, CallerKind
from steno.inference.v1.inference_service_pb2 import TranscribeRequest
from steno.storage.v1.media_pb2 import Media
from steno.storage.v1.storage_service_pb2 import GetMediaRequest
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

# Three megabytes of silence can stand for days.
MAX_RECORDING_MS = 7_200_000


@dataclass(frozen=True)
class Sources:
    """What it takes to read audio."""

    storage: StorageServiceAsyncStub
    client: httpx2.AsyncClient
    sandbox: Sandbox
    scratch: Path
    min_free_bytes: int
    max_duration_ms: int

    @asynccontextmanager
    async def open(self, caller: Caller, request: TranscribeRequest, charge: Charge, on_progress: OnProgress) -> AsyncIterator[Audio]:
        """The decoded audio, its length on hold.

        Raises InvalidField, AccessDenied, MediaNotFound, what `open_audio` and `open_recording` raise, and refusals of storage and billing.
        """
        match request.WhichOneof("source"):
            case "media_id":
                opened = self._stored(caller, request.media_id, charge, on_progress)
            case "media":
                opened = self._sent(request.media, charge, on_progress)
            case _:
                raise InvalidField("A request has media_id or media.", field="media_id")
        async with opened as audio:
            yield audio

    @asynccontextmanager
    async def _stored(self, caller: Caller, media_id: str, charge: Charge, on_progress: OnProgress) -> AsyncIterator[Audio]:
        # Media has no owner within its workspace, and all guests of an application look alike.
        if caller.kind is CallerKind.GUEST:
            raise AccessDenied("A guest may not name media.")
        media = (await self.storage.GetMedia(GetMediaRequest(media_id=media_id))).media
        if media.state != Media.STATE_READY:
            raise MediaNotFound(media_id=media_id)
        probed_ms = media.probe.duration_ms
        await charge.hold(probed_ms, media.size_bytes)
        self._check_room(probed_ms)
        limit_ms = decode_limit_ms(probed_ms, self.max_duration_ms)
        url = await media_url(self.storage, media_id)
        async with open_audio(self.client, url, self.sandbox, self.scratch, limit_ms, on_progress) as audio:
            yield audio

    @asynccontextmanager
    async def _sent(self, recording: bytes, charge: Charge, on_progress: OnProgress) -> AsyncIterator[Audio]:
        """Its length is known, and held, once it is decoded."""
        self._check_room(0)
        limit_ms = min(MAX_RECORDING_MS, self.max_duration_ms)
        async with open_recording(recording, self.sandbox, self.scratch, limit_ms, on_progress) as audio:
            await charge.hold(audio.duration_ms, len(recording))
            yield audio

    def _check_room(self, duration_ms: int) -> None:
        if not has_room(self.scratch, self.min_free_bytes + BYTES_PER_MS * duration_ms):
            raise ServiceUnavailable("The scratch disk has no room for this audio.")
