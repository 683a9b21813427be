"""Media from a URL: fetched over the way out, then like an upload."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from services.media.formats import HEAD_BYTES, looks_accepted
from services.mesh import fault
from services.mesh.egress.egress import Egress
from services.mesh.egress.reply import Reply, ReplyTooLarge
from services.mesh.egress.urls import parse_url
from services.mesh.errors import FetchBlocked, FetchFailed, InvalidArgument, InvalidField, MeshError, ServiceUnavailable
from services.mesh.identity import acting_for
from services.mesh.ids import is_id
from services.mesh.telemetry import get_logger
from services.storage.blobs.inflow import gathered, open_inflow
from services.storage.domain import (
    Kind,
    LicenceNotAllowed,
    MediaNotFound,
    MediaTooLarge,
    Receipt,
    SiteNotSupported,
    State,
    UnsupportedMedia,
    UploadIncomplete,
    attachment,
    clean_filename,
    new_object_key,
    offered_filename,
    size_limit,
)
from services.storage.sites.extractor import Extractor
from services.storage.sites.source import Source
from services.storage.sites.youtube import is_page
from services.storage.store import objects
from services.storage.store.tables import Media
from services.storage.usecases import receipts, uploads
from services.storage.usecases.arrivals import Arrivals
from services.storage.usecases.deletion import erase
from services.storage.usecases.depot import Depot

_PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_REFUSALS = (InvalidArgument, FetchBlocked, FetchFailed, LicenceNotAllowed, SiteNotSupported)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """The way out for media, the reader of YouTube's pages, and the fetches in hand."""

    egress: Egress
    youtube: Extractor
    arrivals: Arrivals


@dataclass(frozen=True, slots=True)
class Order:
    """What to fetch under which id, and within which limits; 0 means the service's own."""

    workspace_id: str
    media_id: str
    url: str
    max_size_bytes: int = 0
    max_duration_ms: int = 0


async def fetch_media(depot: Depot, fetcher: Fetcher, order: Order) -> Media:
    """Ready media with the order's id. Fetched before, it is answered as it is; refused, nothing of it is kept.

    Raises InvalidUrl, FetchBlocked, FetchFailed, LicenceNotAllowed, SiteNotSupported, MediaTooLarge, what `commit_upload` refuses,
    MediaNotFound when it is deleted meanwhile, Overloaded, ServiceUnavailable.
    """
    if not is_id(order.media_id):
        raise InvalidField(field="media_id")
    size_limit(order.max_size_bytes, depot.limits.max_media_bytes)
    target = parse_url(order.url, fetcher.egress.policy)
    logger = get_logger("storage.fetching").bind(media_id=order.media_id, host=target.host)
    try:
        async with fetcher.arrivals.media.of(order.media_id):
            media = await _announce(depot, order, offered_filename("", target.target))
            if media.state == State.READY:
                return media
            fault.point("storage.fetch.after_announce")
            async with fetcher.arrivals.slot():
                media = await _fetch(depot, fetcher, order, str(target))
    except MeshError as error:
        logger.info("fetch refused", reason=error.reason(), cause=type(error.__cause__).__name__)
        raise
    fault.point("storage.fetch.before_reply")
    logger.info("fetched", size_bytes=media.size_bytes, duration_ms=media.duration_ms)
    return media


async def _announce(depot: Depot, order: Order, filename: str) -> Media:
    """The order's row, made unless it is there. Raises MediaNotFound for a foreign or deleted one."""

    async def unit(session: AsyncSession) -> Media:
        found = await objects.lock_any(session, Media, order.media_id)
        if found is None:
            now = await objects.clock(session)
            found = Media(
                id=order.media_id,
                workspace_id=order.workspace_id,
                state=State.UPLOADING,
                filename=clean_filename(filename),
                create_time=now,
                change_time=now,
            )
            await objects.add(session, found)
        elif found.state == State.UPLOADING and found.workspace_id == order.workspace_id and found.dataset_id is None:
            await objects.touch(session, found, found.filename)
        return found

    try:
        # For every workspace: the id may be another's, which row security would hide until the insert fails.
        with acting_for(""):
            media = await depot.database.grouped(unit)
    except IntegrityError as error:
        raise ServiceUnavailable(service="storage") from error
    if media.workspace_id != order.workspace_id or media.state == State.DELETED or media.dataset_id is not None:
        raise MediaNotFound(media_id=order.media_id)
    return media


async def _fetch(depot: Depot, fetcher: Fetcher, order: Order, url: str) -> Media:
    """Bytes, receipt, probe. A refusal takes the row and the bytes with it; any other failure leaves the row for the next call."""
    try:
        work = _receive(depot, fetcher, order, url)
        receipt = await fetcher.arrivals.unless_deleted(depot, order.media_id, work)
        fault.point("storage.fetch.before_receipt")
        await receipts.record_receipt(depot, Kind.MEDIA, order.media_id, receipt)
        fault.point("storage.fetch.after_receipt")
        return await uploads.commit_upload(depot, order.workspace_id, order.media_id, order.max_duration_ms)
    except UploadIncomplete as error:
        # Another replica fetches the same media: its bytes replaced these, and it will say what they are.
        raise ServiceUnavailable(service="storage") from error
    except _REFUSALS:
        fault.point("storage.fetch.before_erase")
        await _erase(depot, order)
        raise


async def _receive(depot: Depot, fetcher: Fetcher, order: Order, url: str) -> Receipt:
    """The bytes at the URL, in the store under a fresh key. Raises MediaTooLarge, UnsupportedMedia for a page."""
    limit = size_limit(order.max_size_bytes, depot.limits.max_media_bytes)
    source = await fetcher.youtube.find_audio(url) if is_page(url) else Source(url)
    try:
        # The limits of the way out bound what they read; this also bounds a store that hangs.
        async with asyncio.timeout(fetcher.egress.limits.total_seconds), fetcher.egress.stream(source.url, max_bytes=limit) as reply:
            filename = clean_filename(source.title or offered_filename(reply.headers.get("content-disposition", ""), reply.target.target))
            await _name(depot, order.media_id, filename)
            return await _store(depot, reply, filename)
    except ReplyTooLarge as error:
        raise MediaTooLarge(max_size_bytes=str(limit)) from error
    except TimeoutError as error:
        raise FetchFailed from error


async def _store(depot: Depot, reply: Reply, filename: str) -> Receipt:
    key = new_object_key()
    open_writer = partial(depot.blobs.open_writer, key, attachment(filename), reply.content_length or 0)
    async with open_inflow(open_writer) as inflow:
        async with aclosing(_media_pieces(reply)) as pieces:
            async for piece in pieces:
                await inflow.write(piece)
        return await inflow.publish(key)


async def _media_pieces(reply: Reply) -> AsyncGenerator[bytes, None]:
    """The body, unless its type and first bytes are a page's: those are known not to be media without the rest."""
    page = reply.headers.get("content-type", "").partition(";")[0].strip().lower() in _PAGE_TYPES
    async with aclosing(gathered(reply.pieces())) as pieces:
        async for piece in pieces:
            if page and not looks_accepted(piece[:HEAD_BYTES]):
                raise UnsupportedMedia
            page = False
            yield piece


async def _name(depot: Depot, media_id: str, filename: str) -> None:
    """Give the media the name that it came under. Raises MediaNotFound."""

    async def unit(session: AsyncSession) -> bool:
        media = await objects.lock(session, Media, media_id)
        if media is not None:
            await objects.touch(session, media, filename)
        return media is not None

    if not await depot.database.grouped(unit):
        raise MediaNotFound(media_id=media_id)


async def _erase(depot: Depot, order: Order) -> None:
    media = await objects.find(depot.database, Media, order.media_id, order.workspace_id)
    if media is not None:
        await erase(depot, Media, media)
