"""What an edge takes from clients, and what it says to those that it refuses."""

import json
import resource
import uuid
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100
MAX_TARGET_BYTES = 8 * 1024
MAX_PIPELINED = 16
# Beside its clients' connections a service has files, databases, channels, and a connection to storage for each upload.
_OTHER_DESCRIPTORS = 640
_WELCOME = "welcome"
_WELCOME_LINGER_BYTES = 16 * 1024**2
_STRANGER_LINGER_BYTES = 256 * 1024

# From path, status, code and sentence to the body of a refusal.
EdgeBody = Callable[[str, int, str, str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Deadlines on a client's sending, and how many clients may be connected.

    body_bytes_per_second: a body that comes slower than this until its deadline is refused.
    """

    header_deadline_seconds: float = 9
    body_deadline_seconds: float = 30
    body_bytes_per_second: int = 1024
    max_connections: int = 4000


def affordable_connections(asked: int) -> int:
    """As many connections as asked for, or as this process has descriptors for: past them nobody could even be refused."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return asked if descriptors == resource.RLIM_INFINITY else max(1, min(asked, descriptors - _OTHER_DESCRIPTORS))


def welcome(scope: MutableMapping[str, Any]) -> None:
    """Say that whoever sent this request has shown a permission: more of its unwanted body is then read, so that it can read why."""
    scope["state"][_WELCOME] = True


def linger_bytes(scope: Mapping[str, Any] | None) -> int:
    """How much of a body that nobody wants is read; without a permission less than a megabyte, whatever was announced."""
    known = scope is not None and scope["state"].get(_WELCOME, False)
    return _WELCOME_LINGER_BYTES if known else _STRANGER_LINGER_BYTES


def refusal(status: int, body: Mapping[str, Any], headers: Sequence[bytes]) -> bytes:
    """A whole answer that ends its connection. headers: lines beside those of every refusal."""
    content = json.dumps(dict(body)).encode()
    lines = (
        b"content-type: application/json",
        b"content-length: %d" % len(content),
        b"x-request-id: " + uuid.uuid4().hex.encode(),
        b"x-content-type-options: nosniff",
        *headers,
        *((b"retry-after: 5",) if status == HTTPStatus.SERVICE_UNAVAILABLE else ()),
        b"connection: close",
    )
    return STATUS_LINE[status] + b"\r\n".join([*lines, b"", content])
