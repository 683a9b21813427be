"""What the data plane reads of a request and writes of a response."""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from services.mesh.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    MeshError,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from services.storage.domain import MediaTooLarge, StoreFull, UploadIncomplete

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_STATUS: tuple[tuple[type[MeshError], int], ...] = (
    (MediaTooLarge, 413),
    (StoreFull, 507),
    (UploadIncomplete, 408),
    (PermissionDenied, 403),
    (NotFound, 404),
    (FailedPrecondition, 409),
    (Aborted, 409),
    (InvalidArgument, 400),
    (ResourceExhausted, 503),
    (Unavailable, 503),
)
# A file of a stranger must stay a download, whatever a browser makes of its bytes.
SAFETY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
    (b"cache-control", b"private, no-store"),
]


class Disconnected(Exception):
    """The client went away."""


def read_headers(scope: Mapping[str, Any]) -> dict[bytes, str]:
    """Headers by lower-case name; of repeated ones the last."""
    return {name: value.decode("latin-1") for name, value in scope["headers"]}


def content_length(headers: Mapping[bytes, str]) -> int | None:
    """The announced length of the body, or None when it comes in chunks."""
    announced = headers.get(b"content-length")
    return int(announced) if announced and announced.isascii() and announced.isdigit() else None


def status_of(error: MeshError) -> int:
    """The HTTP status that an error of the mesh has here."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


async def send_json(send: Send, status: int, content: Mapping[str, object], extra: Headers | None = None) -> None:
    """A whole small response."""
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *SAFETY,
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: MeshError, extra: Headers | None = None) -> None:
    """The error as JSON."""
    content = {"error": error.message, "code": error.reason(), **({"details": error.metadata} if error.metadata else {})}
    await send_json(send, status_of(error), content, extra)
