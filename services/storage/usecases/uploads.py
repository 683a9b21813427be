"""From an announced upload to readable media or a readable artefact."""

from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from services.media.probe import Probe
from services.mesh import fault
from services.mesh.errors import InvalidArgument
from services.mesh.ids import new_id
from services.mesh.outbox import publish_later
from services.mesh.streams import event_subject
from services.storage.domain import (
    Kind,
    State,
    UploadIncomplete,
    check_media_type,
    clean_filename,
    duration_limit,
    not_found,
    size_limit,
)
from services.storage.signing import Grant
from services.storage.store import objects
from services.storage.store.tables import OUTBOX, Artefact, Media, StoredObject
from services.storage.usecases import posting
from services.storage.usecases.deletion import erase
from services.storage.usecases.depot import Depot
from services.storage.usecases.probing import probe_media
from services.storage.usecases.reading import find_owned
from steno.storage.v1.storage_events_pb2 import MediaReady

Row = TypeVar("Row", bound=StoredObject)


async def begin_upload(depot: Depot, workspace_id: str, filename: str, max_size_bytes: int) -> tuple[Media, Grant]:
    """Announce media; the grant says where its bytes go. Raises InvalidField."""
    limit = size_limit(max_size_bytes, depot.limits.max_media_bytes)

    async def unit(session: AsyncSession) -> Media:
        now = await objects.clock(session)
        media = Media(
            id=new_id(),
            workspace_id=workspace_id,
            state=State.UPLOADING,
            filename=clean_filename(filename),
            create_time=now,
            change_time=now,
        )
        await objects.add(session, media)
        return media

    media = await depot.database.grouped(unit)
    fault.point("storage.begin.after_commit")
    return media, _upload_grant(depot, Kind.MEDIA, media, limit)


async def sign_upload(depot: Depot, workspace_id: str, media_id: str, max_size_bytes: int) -> Grant:
    """Another permission to send the bytes of announced media. Raises MediaNotFound, also once it is committed, and InvalidField."""
    limit = size_limit(max_size_bytes, depot.limits.max_media_bytes)
    media = await find_owned(depot, Kind.MEDIA, Media, workspace_id, media_id)
    if media.state != State.UPLOADING:
        raise not_found(Kind.MEDIA, media_id)
    expire_time = datetime.now(UTC) + timedelta(seconds=depot.limits.upload_url_seconds)
    return Grant("PUT", Kind.MEDIA, media_id, expire_time, limit)


async def begin_artefact(depot: Depot, workspace_id: str, media_type: str, max_size_bytes: int) -> tuple[Artefact, Grant]:
    """Announce an artefact; the grant says where its bytes go. Raises InvalidField."""
    limit = size_limit(max_size_bytes, depot.limits.max_artefact_bytes)
    checked = check_media_type(media_type)

    async def unit(session: AsyncSession) -> Artefact:
        now = await objects.clock(session)
        artefact = Artefact(
            id=new_id(),
            workspace_id=workspace_id,
            state=State.UPLOADING,
            media_type=checked,
            create_time=now,
            change_time=now,
        )
        await objects.add(session, artefact)
        return artefact

    artefact = await depot.database.grouped(unit)
    fault.point("storage.begin_artefact.after_commit")
    return artefact, _upload_grant(depot, Kind.ARTEFACT, artefact, limit)


def _upload_grant(depot: Depot, kind: Kind, row: StoredObject, limit: int) -> Grant:
    expire_time = datetime.now(UTC) + timedelta(seconds=depot.limits.upload_url_seconds)
    return Grant("PUT", kind, row.id, expire_time, limit)


async def commit_upload(depot: Depot, workspace_id: str, media_id: str, max_duration_ms: int) -> Media:
    """Probe what arrived and make it readable. On refusal nothing is kept.

    Raises MediaNotFound, UploadIncomplete, EmptyMedia, UnsupportedMedia, BrokenMedia, MediaTooLong.
    """
    longest_ms = duration_limit(max_duration_ms, depot.limits.max_duration_ms)
    media = await find_owned(depot, Kind.MEDIA, Media, workspace_id, media_id)
    if media.state == State.READY:
        return media
    try:
        media = await posting.take_posted(depot, media)
        found = await probe_media(depot, media, longest_ms)
    except InvalidArgument:
        await erase(depot, Media, media)
        raise
    fault.point("storage.commit.after_probe")
    ready = await depot.database.grouped(lambda session: _make_media_ready(session, media, found))
    fault.point("storage.commit.after_commit")
    depot.wake_relay()
    return ready or await _committed_by_another(depot, Kind.MEDIA, Media, media)


async def _make_media_ready(session: AsyncSession, media: Media, found: Probe) -> Media | None:
    """Row and event in one transaction; None when the bytes are others by now."""
    facts = {
        "container": found.container,
        "codec": found.codec,
        "media_type": found.media_type,
        "duration_ms": found.duration_ms,
        "sample_rate_hz": found.sample_rate_hz,
        "channels": found.channels,
        "has_video": found.has_video,
    }
    ready = await objects.set_ready(session, Media, media.id, media.object_key or "", facts)
    if ready is not None:
        event = MediaReady(media_id=ready.id, workspace_id=ready.workspace_id, duration_ms=ready.duration_ms)
        await publish_later(session, OUTBOX, event_subject("storage", MediaReady), event)
        fault.point("storage.commit.before_commit")
    return ready


async def commit_artefact(depot: Depot, workspace_id: str, artefact_id: str) -> Artefact:
    """Make what arrived readable. Raises ArtefactNotFound, UploadIncomplete."""
    artefact = await find_owned(depot, Kind.ARTEFACT, Artefact, workspace_id, artefact_id)
    if artefact.state == State.READY:
        return artefact
    object_key = artefact.object_key
    if object_key is None:
        raise UploadIncomplete(artefact_id=artefact_id)
    fault.point("storage.commit_artefact.before_commit")
    ready = await depot.database.grouped(lambda session: objects.set_ready(session, Artefact, artefact_id, object_key, {}))
    fault.point("storage.commit_artefact.after_commit")
    return ready or await _committed_by_another(depot, Kind.ARTEFACT, Artefact, artefact)


async def _committed_by_another(depot: Depot, kind: Kind, model: type[Row], row: Row) -> Row:
    """The row that a commit at the same moment made ready. Raises NotFound, UploadIncomplete."""
    current = await find_owned(depot, kind, model, row.workspace_id, row.id)
    if current.state != State.READY:
        raise UploadIncomplete
    return current
