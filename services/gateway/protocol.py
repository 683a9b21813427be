"""uvicorn's HTTP protocol with what it lacks: limits and deadlines on what arrives, strict heads, lingering closes.

httptools has no limit on headers and uvicorn no deadline on receiving; h11 has the former but takes half the requests.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100
MAX_TARGET_BYTES = 8 * 1024
_MIN_BODY_BYTES_PER_SECOND = 1024
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 16 * 1024**2
_WRITE_STALL_SECONDS = 60.0
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]{1,255}")


# From path, status, code and sentence to the body of a refusal.
EdgeBody = Callable[[str, int, str, str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Deadlines on a client's sending, and how many clients may be connected."""

    header_deadline_seconds: float = 10
    body_deadline_seconds: float = 30
    max_connections: int = 2000


class _LingeringTransport(asyncio.Transport):
    """The connection's transport, whose close waits for a client that is still sending, so that it can read the answer."""

    def __init__(self, transport: asyncio.Transport, protocol: "EdgeProtocol") -> None:
        super().__init__()
        self._transport = transport
        self._protocol = protocol
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._transport.write(data)

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if self._protocol.body_unread and self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()
            self._protocol.linger()
        else:
            self._transport.close()

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def abort(self) -> None:
        self._closing = True
        self._transport.abort()

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)


class EdgeProtocol(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, *arguments: Any, limits: EdgeLimits, body_of: EdgeBody, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._limits = limits
        self._body_of = body_of
        self.url = b""
        self._raw: asyncio.Transport | None = None
        self._in_head = True
        self._message_ended = False
        self._head_bytes = 0
        self._idle_bytes = 0
        self._window_bytes = 0
        self._lingered_bytes: int | None = None
        self._problem: tuple[int, str, str] = (400, "BAD_REQUEST", "This is not a well-formed HTTP request.")
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    @property
    def body_unread(self) -> bool:
        """Whether the client may still be sending the request in hand."""
        return not self._in_head

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._raw = transport
        super().connection_made(_LingeringTransport(transport, self))
        self._expect_head()
        if len(self.connections) > self._limits.max_connections:
            self._refuse(503, "OVERLOADED", "Too many connections are open; try again soon.")

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._lingered_bytes is not None:
            self._discard(data)
            return
        if self._in_head:
            if self._deadline is None:
                self._expect_head()
            room = MAX_HEAD_BYTES - self._head_bytes
            self._feed(data[:room])
            data = data[room:]
            if self._in_head and data:
                self._refuse(400, "BAD_REQUEST", f"The head of the request is larger than {MAX_HEAD_BYTES} bytes.")
                return
        if data:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        head_before = self._in_head
        self._message_ended = False
        self._window_bytes += len(data)
        self._idle_bytes += len(data)
        super().data_received(data)
        if self._in_head:
            # What ended a request is no part of the next one's head.
            self._head_bytes = 0 if self._message_ended else self._head_bytes + len(data)
        elif head_before:
            self._expect_body()
        elif self._idle_bytes > 2 * MAX_HEAD_BYTES:
            self._refuse(400, "BAD_REQUEST", "The body's chunk extensions or trailers are too large.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            self._reject("The target of the request is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._reject(f"A request has at most {MAX_HEADERS} headers.")

    def on_headers_complete(self) -> None:
        self._check_head()
        self._in_head = False
        self._head_bytes = self._idle_bytes = 0
        self._disarm()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = self._message_ended = True
        self._head_bytes = 0
        self._disarm()
        super().on_message_complete()

    def _check_head(self) -> None:
        version = self.parser.get_http_version()
        hosts = [value for name, value in self.headers if name == b"host"]
        encodings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if version not in ("1.0", "1.1") or not self.url.startswith((b"/", b"*")):
            self._reject("Send HTTP/1.1 or HTTP/1.0 with a path as its target.")
        if len(hosts) > 1 or (version == "1.1" and not hosts) or not all(map(_HOST.fullmatch, hosts)):
            self._reject("Send one valid Host header.")
        if len(encodings) > 1 or any(value.lower() != b"chunked" for value in encodings) or (encodings and version == "1.0"):
            self._reject("The only supported transfer encoding is chunked.")

    def _reject(self, sentence: str) -> None:
        self._problem = (400, "BAD_REQUEST", sentence)
        raise ValueError(sentence)

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused, in the shape of every other error."""
        self._refuse(*self._problem)

    def _refuse(self, status: int, code: str, sentence: str) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            started = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if started:
                self.transport.abort()
                return
        self._in_head = False
        path = unquote(self.url.partition(b"?")[0])
        self.transport.write(_answer(status, self._body_of(path, status, code, sentence)))
        self.transport.close()

    def _expect_head(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(self._limits.header_deadline_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._head_bytes:
            self._refuse(408, "REQUEST_TIMEOUT", "The head of the request did not arrive in time.")
        else:
            self.transport.abort()

    def _expect_body(self) -> None:
        self._disarm()
        self._window_bytes = 0
        self._deadline = self.loop.call_later(self._limits.body_deadline_seconds / 2, self._check_body)

    def _check_body(self) -> None:
        """Twice per deadline, so that no client is slower than allowed for longer than that."""
        least = _MIN_BODY_BYTES_PER_SECOND * self._limits.body_deadline_seconds / 2
        if self._window_bytes < least and not self.flow.read_paused and not self.cycle.response_started:
            self._refuse(408, "REQUEST_TIMEOUT", "The body of the request arrives too slowly.")
        elif not self.transport.is_closing():
            self._expect_body()

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def linger(self) -> None:
        """Read and drop what a client still sends after its answer, for a bounded time, then close."""
        self._lingered_bytes = 0
        self._disarm()
        self.flow.resume_reading()
        self._deadline = self.loop.call_later(_LINGER_SECONDS, self._close_now)

    def _discard(self, data: bytes) -> None:
        self._lingered_bytes = (self._lingered_bytes or 0) + len(data)
        if self._lingered_bytes > _LINGER_BYTES:
            self._close_now()

    def _close_now(self) -> None:
        if self._raw is not None:
            self._raw.abort()

    def pause_writing(self) -> None:
        """The client reads slower than it is sent to: for a while, that is."""
        super().pause_writing()
        self._write_deadline = self.loop.call_later(_WRITE_STALL_SECONDS, self._close_now)

    def resume_writing(self) -> None:
        """The client reads again."""
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None
        super().resume_writing()


def _answer(status: int, told: Mapping[str, Any]) -> bytes:
    body = json.dumps(dict(told)).encode()
    head = (
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"x-request-id: " + uuid.uuid4().hex.encode(),
        b"access-control-allow-origin: *",
        *((b"retry-after: 5",) if status == HTTPStatus.SERVICE_UNAVAILABLE else ()),
        b"connection: close",
    )
    return STATUS_LINE[status] + b"\r\n".join([*head, b"", body])
