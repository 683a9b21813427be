"""What arrived, examined in the sandbox."""

import time

from services.media.errors import MediaError, SandboxKilled
from services.media.probe import Probe, probe
from services.mesh import semconv
from services.mesh.errors import ServiceUnavailable
from services.mesh.telemetry import get_logger
from services.storage.blobs.blobs import BlobMissing
from services.storage.domain import REFUSALS, BrokenMedia, EmptyMedia, UploadIncomplete
from services.storage.store.tables import Media
from services.storage.usecases.depot import Depot

_SANDBOX_TRIES = 2


async def probe_media(depot: Depot, media: Media, max_duration_ms: int) -> Probe:
    """The facts of uploaded media.

    Raises EmptyMedia, UnsupportedMedia, BrokenMedia, MediaTooLong; UploadIncomplete when the bytes are not there (any more).
    """
    if media.object_key is None:
        raise UploadIncomplete(media_id=media.id)
    if media.size_bytes == 0:
        raise EmptyMedia
    try:
        async with depot.blobs.open_file(media.object_key) as descriptor:
            return await _timed_probe(depot, descriptor, max_duration_ms)
    except BlobMissing as error:
        raise UploadIncomplete(media_id=media.id) from error


async def _timed_probe(depot: Depot, descriptor: int, max_duration_ms: int) -> Probe:
    started, outcome = time.perf_counter(), "refused"
    try:
        found = await _probe(depot, descriptor, max_duration_ms)
        outcome = "accepted"
        return found
    finally:
        semconv.PROBE_SECONDS.labels(outcome).observe(time.perf_counter() - started)


async def _probe(depot: Depot, descriptor: int, max_duration_ms: int) -> Probe:
    """The sandbox's verdict; the end of its fork server says nothing of the media, so it is asked again."""
    for _ in range(_SANDBOX_TRIES):
        try:
            return await probe(depot.sandbox, descriptor, max_duration_ms)
        except SandboxKilled as error:
            get_logger("storage.probing").warning("sandbox killed", reason=error.reason)
            if error.reason != "server":
                raise BrokenMedia from error
        except MediaError as error:
            raise REFUSALS.get(error.code, BrokenMedia)(**_details(error, max_duration_ms)) from error
    raise ServiceUnavailable(service="storage")


def _details(error: MediaError, max_duration_ms: int) -> dict[str, str]:
    return {"max_duration_ms": str(max_duration_ms)} if error.code == "MEDIA_TOO_LONG" else {}
