"""POST: the file of a signed form into one blob, then into its media's row."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime

from services.mesh.errors import InvalidField
from services.storage.data_plane.bodies import body_parts
from services.storage.data_plane.form_reader import MAX_HEAD_BYTES, FormReader, read_boundary
from services.storage.data_plane.http import SAFETY, Receive, Send, content_length
from services.storage.data_plane.upload import store_pieces
from services.storage.domain import Kind, MediaTooLarge, UploadIncomplete, attachment
from services.storage.forms import Admission, admit
from services.storage.usecases import receipts
from services.storage.usecases.depot import Depot


async def receive_form(depot: Depot, headers: Mapping[bytes, str], receive: Receive, send: Send, welcome: Callable[[], None]) -> None:
    """Store the file under a fresh key and record what arrived. welcome: called once the form has shown its permission.

    Raises InvalidSignature, InvalidField, MediaTooLarge, UploadIncomplete (too slow), NotFound, StoreFull, Disconnected.
    """
    most_bytes = depot.limits.max_media_bytes + 2 * MAX_HEAD_BYTES
    if (content_length(headers) or 0) > most_bytes:
        raise MediaTooLarge(max_size_bytes=str(depot.limits.max_media_bytes))
    reader = FormReader(read_boundary(headers))
    try:
        async with (
            asyncio.timeout(depot.limits.upload_seconds),
            aclosing(body_parts(receive, most_bytes, depot.limits.idle_seconds)) as body,
        ):
            first = await _read_fields(reader, body)
            admission = admit(depot.signer, reader.fields, datetime.now(UTC))
            welcome()
            filename = await receipts.expect_upload(depot, Kind.MEDIA, admission.media_id)
            receipt = await store_pieces(depot, attachment(filename), 0, _file_pieces(reader, first, body, admission))
    except TimeoutError as error:
        raise UploadIncomplete from error
    await receipts.record_receipt(depot, Kind.MEDIA, admission.media_id, receipt)
    await send({"type": "http.response.start", "status": 204, "headers": SAFETY})
    await send({"type": "http.response.body"})


async def _read_fields(reader: FormReader, body: AsyncGenerator[bytes, None]) -> list[bytes]:
    """Read up to the file; its first pieces."""
    async for part in body:
        pieces = reader.feed(part)
        if reader.in_file:
            return pieces
    reader.finish()
    raise InvalidField('The form has no "file".', field="form")


async def _file_pieces(
    reader: FormReader, first: list[bytes], body: AsyncGenerator[bytes, None], admission: Admission
) -> AsyncGenerator[bytes, None]:
    """The file, and no more or fewer bytes of it than the form allows."""
    size_bytes, pieces = 0, first
    while True:
        for piece in pieces:
            size_bytes += len(piece)
            if size_bytes > admission.max_size_bytes:
                raise MediaTooLarge(max_size_bytes=str(admission.max_size_bytes))
            yield piece
        if (part := await anext(body, None)) is None:
            break
        pieces = reader.feed(part)
    reader.finish()
    if size_bytes < admission.min_size_bytes:
        raise InvalidField(f"The file has at least {admission.min_size_bytes} bytes.", field="file")
