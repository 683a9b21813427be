"""Large bodies through plain sockets: sendfile out, one reused buffer in, so that the client costs next to nothing."""

import json
import socket
import time
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_SECONDS = 300.0
_BOUNDARY = "steno-bench-boundary"
_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Reply:
    """How a transfer ended and how long it took, from connecting to the end of the answer."""

    status: int
    body: bytes
    seconds: float

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


def put(url: str, path: Path) -> Reply:
    """PUT a file."""
    return _sent(url, "PUT", [], b"", path, b"")


def post_form(url: str, path: Path, api_key: str = "") -> Reply:
    """POST a file as the form's part `file`."""
    head, tail = _form(path.name)
    headers = [f"content-type: multipart/form-data; boundary={_BOUNDARY}", *([f"x-api-key: {api_key}"] if api_key else [])]
    return _sent(url, "POST", headers, head, path, tail)


def get(url: str) -> Reply:
    """GET a body and forget it. Raises RuntimeError on any status but 200."""
    started = time.perf_counter()
    with _open(url) as connection:
        connection.sendall(_head(url, "GET", []))
        answer = HTTPResponse(connection)
        answer.begin()
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        while answer.readinto(buffer):
            pass
    return _checked(Reply(answer.status, b"", time.perf_counter() - started))


def form_message(path: Path) -> tuple[bytes, str]:
    """A small file's whole form and its content type."""
    head, tail = _form(path.name)
    return head + path.read_bytes() + tail, f"multipart/form-data; boundary={_BOUNDARY}"


def _form(filename: str) -> tuple[bytes, bytes]:
    disposition = f'content-disposition: form-data; name="file"; filename="{filename}"'
    head = f"--{_BOUNDARY}\r\n{disposition}\r\ncontent-type: audio/wav\r\n\r\n"
    return head.encode(), f"\r\n--{_BOUNDARY}--\r\n".encode()


def _sent(url: str, method: str, headers: list[str], before: bytes, path: Path, after: bytes) -> Reply:
    length = len(before) + path.stat().st_size + len(after)
    started = time.perf_counter()
    with _open(url) as connection, path.open("rb") as file:
        connection.sendall(_head(url, method, [*headers, f"content-length: {length}"]) + before)
        connection.sendfile(file)
        connection.sendall(after)
        answer = HTTPResponse(connection, method=method)
        answer.begin()
        body = answer.read()
    return _checked(Reply(answer.status, body, time.perf_counter() - started))


def _checked(reply: Reply) -> Reply:
    if not 200 <= reply.status < 300:
        raise RuntimeError(f"answered {reply.status}: {reply.body[:300]!r}")
    return reply


def _open(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=_TIMEOUT_SECONDS)


def _head(url: str, method: str, headers: list[str]) -> bytes:
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    lines = [f"{method} {target} HTTP/1.1", f"host: {parts.netloc}", "connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode()
