"""GET and HEAD: a blob or one range of it."""

from collections.abc import AsyncIterator, Mapping

from services.storage.data_plane.http import SAFETY, Headers, Send, send_json
from services.storage.data_plane.ranges import RangeNotSatisfiable, Span, asked_span, whole
from services.storage.domain import attachment
from services.storage.signing import Grant
from services.storage.usecases import reading
from services.storage.usecases.depot import Depot
from services.storage.usecases.reading import Readable


async def send_download(depot: Depot, grant: Grant, method: str, headers: Mapping[bytes, str], send: Send) -> None:
    """The bytes asked for. Raises NotFound, ServiceUnavailable."""
    found = await reading.find_readable(depot, grant.kind, grant.object_id)
    etag = f'"{found.sha256}"'
    if etag in headers.get(b"if-none-match", ""):
        await send_head(send, 304, [(b"etag", etag.encode())])
        await send({"type": "http.response.body"})
        return
    try:
        span = choose_span(headers, found.size_bytes, etag)
    except RangeNotSatisfiable:
        await send_json(send, 416, {"error": "The range lies outside of the file.", "code": "RANGE_NOT_SATISFIABLE"}, unsatisfied(found))
        return
    await send_span(depot, found, span, method, etag, send)


def choose_span(headers: Mapping[bytes, str], size_bytes: int, etag: str) -> Span | None:
    """The range to send, or None for all; If-Range with another ETag or a date means all."""
    if headers.get(b"if-range", etag) != etag or b"range" not in headers:
        return None
    return asked_span(headers[b"range"], size_bytes)


async def send_span(depot: Depot, found: Readable, span: Span | None, method: str, etag: str, send: Send) -> None:
    """Head and body; the blob is opened before the status is promised."""
    part = span or whole(found.size_bytes)
    head = response_headers(found, part, partial=span is not None, etag=etag)
    status = 200 if span is None else 206
    if method == "HEAD" or part.start == part.end:
        await send_head(send, status, head)
        await send({"type": "http.response.body"})
        return
    async with depot.blobs.read(found.object_key, part.start, part.end) as pieces:
        await send_head(send, status, head)
        await send_pieces(send, pieces)


async def send_pieces(send: Send, pieces: AsyncIterator[bytes]) -> None:
    """The body; sending waits for the client."""
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def send_head(send: Send, status: int, headers: Headers) -> None:
    """Status and headers."""
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *SAFETY]})


def unsatisfied(found: Readable) -> Headers:
    """What a 416 tells of the length."""
    return [(b"content-range", f"bytes */{found.size_bytes}".encode()), (b"accept-ranges", b"bytes")]


def response_headers(found: Readable, part: Span, *, partial: bool, etag: str) -> Headers:
    """Headers of a 200 or 206. The type is what was detected, never what the client claimed."""
    headers = [
        (b"content-type", found.media_type.encode("latin-1")),
        (b"content-length", str(part.end - part.start).encode()),
        (b"content-disposition", attachment(found.filename).encode("latin-1")),
        (b"accept-ranges", b"bytes"),
        (b"etag", etag.encode()),
    ]
    if partial:
        headers.append((b"content-range", f"bytes {part.start}-{part.end - 1}/{found.size_bytes}".encode()))
    return headers
