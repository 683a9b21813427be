"""The body of a request: read within its limits, or read away."""

import asyncio
from collections.abc import AsyncGenerator

from services.storage.data_plane.http import Disconnected, Receive
from services.storage.domain import MediaTooLarge, UploadIncomplete


async def body_parts(receive: Receive, limit_bytes: int, idle_seconds: float) -> AsyncGenerator[bytes, None]:
    """The body as it comes. Raises MediaTooLarge, UploadIncomplete (too slow), Disconnected."""
    size_bytes, more = 0, True
    while more:
        part, more = await _next_part(receive, idle_seconds)
        size_bytes += len(part)
        if size_bytes > limit_bytes:
            raise MediaTooLarge(max_size_bytes=str(limit_bytes))
        yield part


async def _next_part(receive: Receive, idle_seconds: float) -> tuple[bytes, bool]:
    try:
        async with asyncio.timeout(idle_seconds):
            message = await receive()
    except TimeoutError as error:
        raise UploadIncomplete from error
    if message["type"] != "http.request":
        raise Disconnected
    return message.get("body", b""), message.get("more_body", False)
