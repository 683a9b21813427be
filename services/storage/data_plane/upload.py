"""PUT: one body into one blob, then into the object's row."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from functools import partial

from services.mesh import fault
from services.mesh.errors import InvalidField
from services.storage.blobs.inflow import gathered, open_inflow
from services.storage.data_plane.bodies import body_parts
from services.storage.data_plane.http import Receive, Send, content_length, send_json
from services.storage.domain import MediaTooLarge, Receipt, UploadIncomplete, attachment, new_object_key
from services.storage.signing import Grant
from services.storage.usecases import receipts
from services.storage.usecases.depot import Depot


async def receive_upload(depot: Depot, grant: Grant, headers: Mapping[bytes, str], receive: Receive, send: Send) -> None:
    """Store the body under a fresh key and record what arrived.

    Raises MediaTooLarge, UploadIncomplete (too slow), NotFound, StoreFull, Disconnected.
    """
    expected = expected_bytes(headers, grant.max_size_bytes)
    filename = await receipts.expect_upload(depot, grant.kind, grant.object_id)
    try:
        async with asyncio.timeout(depot.limits.upload_seconds):
            body = body_parts(receive, grant.max_size_bytes, depot.limits.idle_seconds)
            receipt = await store_pieces(depot, attachment(filename), expected, body)
    except TimeoutError as error:
        raise UploadIncomplete from error
    fault.point("storage.put.before_receipt")
    await receipts.record_receipt(depot, grant.kind, grant.object_id, receipt)
    fault.point("storage.put.before_reply")
    await send_json(send, 201, {"size_bytes": receipt.size_bytes, "sha256": receipt.sha256})


def expected_bytes(headers: Mapping[bytes, str], limit_bytes: int) -> int:
    """The announced length, 0 when unknown. Raises MediaTooLarge before a byte is read."""
    if headers.get(b"content-encoding", "identity") != "identity" or b"content-range" in headers:
        raise InvalidField(field="content-encoding" if b"content-encoding" in headers else "content-range")
    announced = content_length(headers) or 0
    if announced > limit_bytes:
        raise MediaTooLarge(max_size_bytes=str(limit_bytes))
    return announced


async def store_pieces(depot: Depot, disposition: str, expected: int, arriving: AsyncGenerator[bytes, None]) -> Receipt:
    """Stream what arrives into the store; nothing of it stays unless all of it arrived."""
    key = new_object_key()
    async with open_inflow(partial(depot.blobs.open_writer, key, disposition, expected)) as inflow:
        async with aclosing(gathered(arriving)) as pieces:
            async for piece in pieces:
                await inflow.write(piece)
        return await inflow.publish(key)
