"""Uploads by forms: signed here, and taken in from the bucket that they were posted to."""

import asyncio
import hashlib
import os
from datetime import UTC, datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh import fault
from services.mesh.errors import InvalidField, Unavailable
from services.mesh.telemetry import get_logger
from services.storage.blobs.blobs import PIECE_BYTES, BlobMissing, Form, FormTerms
from services.storage.datasets import FORM_LIFETIME
from services.storage.domain import (
    Kind,
    MediaTooLarge,
    Receipt,
    State,
    UploadIncomplete,
    check_media_type,
    new_object_key,
    not_found,
    size_limit,
)
from services.storage.forms import sign_form
from services.storage.store import objects
from services.storage.store.tables import Media
from services.storage.usecases import receipts
from services.storage.usecases.depot import Depot
from services.storage.usecases.reading import find_owned


async def sign_upload_form(
    depot: Depot, workspace_id: str, media_id: str, content_type: str, min_size_bytes: int, max_size_bytes: int
) -> Form:
    """A form for the bytes of announced media. Raises MediaNotFound, also once it is committed, and InvalidField."""
    most_bytes = size_limit(max_size_bytes, depot.limits.max_media_bytes)
    if not 0 <= min_size_bytes <= most_bytes:
        raise InvalidField(field="min_size_bytes")
    if content_type:
        check_media_type(content_type)
    media = await find_owned(depot, Kind.MEDIA, Media, workspace_id, media_id)
    return await make_form(depot, media, content_type, min_size_bytes, most_bytes)


async def make_form(depot: Depot, media: Media, content_type: str, min_size_bytes: int, max_size_bytes: int) -> Form:
    """A form for media that its owner may send: the bucket's, or the data plane's. Raises MediaNotFound when it does not wait for bytes."""
    now = datetime.now(UTC)
    terms = FormTerms(media.filename, content_type, min_size_bytes, max_size_bytes, now + FORM_LIFETIME)
    key = media.upload_key or new_object_key()
    form = depot.blobs.form(key, terms, now)
    kept = await depot.database.grouped(lambda session: _expect(session, media, key if form is not None else None))
    if not kept:
        raise not_found(Kind.MEDIA, media.id)
    fault.point("storage.form.after_commit")
    return form or sign_form(depot.signer, media.id, terms, now)


async def _expect(session: AsyncSession, media: Media, upload_key: str | None) -> bool:
    """Remember where the bucket will put the bytes; the time to send them starts anew."""
    row = await objects.lock(session, Media, media.id, media.workspace_id)
    if row is None or row.state != State.UPLOADING:
        return False
    row.upload_key = upload_key or row.upload_key
    await objects.touch(session, row, row.filename)
    return True


async def take_posted(depot: Depot, media: Media) -> Media:
    """The media with its receipt, which for bytes that were posted to the bucket is written now.

    They get another key first: a form works until its time is over, and must not change what was taken in.
    Raises UploadIncomplete, MediaTooLarge, MediaNotFound.
    """
    if media.object_key is not None or media.upload_key is None:
        return media
    try:
        if await depot.blobs.size(media.upload_key) > depot.limits.max_media_bytes:
            raise MediaTooLarge(max_size_bytes=str(depot.limits.max_media_bytes))
        receipt = await _copy_posted(depot, media.upload_key)
    except BlobMissing as error:
        raise UploadIncomplete(media_id=media.id) from error
    await receipts.record_receipt(depot, Kind.MEDIA, media.id, receipt)
    await _forget_posted(depot, media.upload_key)
    return media.model_copy(update={"object_key": receipt.object_key, "size_bytes": receipt.size_bytes, "sha256": receipt.sha256})


async def _copy_posted(depot: Depot, upload_key: str) -> Receipt:
    key = new_object_key()
    await depot.blobs.copy(upload_key, key)
    fault.point("storage.object.after_copy")
    async with depot.blobs.open_file(key) as descriptor:
        sha256 = await asyncio.to_thread(_digest, descriptor)
        return Receipt(key, os.fstat(descriptor).st_size, sha256)


def _digest(descriptor: int) -> str:
    digest, offset = hashlib.sha256(), 0
    while piece := os.pread(descriptor, PIECE_BYTES, offset):
        digest.update(piece)
        offset += len(piece)
    return digest.hexdigest()


async def _forget_posted(depot: Depot, upload_key: str) -> None:
    try:
        await depot.blobs.delete(upload_key)
    except Unavailable as error:
        get_logger("storage.posting").warning("posted bytes left to the janitor", exc_info=error)
