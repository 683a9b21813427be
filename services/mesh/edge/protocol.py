"""uvicorn's HTTP protocol with what it lacks: limits and deadlines on what arrives, strict heads, lingering closes.

httptools has no limit on headers and uvicorn no deadline on receiving; h11 has the former but takes half the requests.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.mesh.edge.limits import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_PIPELINED,
    MAX_TARGET_BYTES,
    EdgeBody,
    EdgeLimits,
    linger_bytes,
    refusal,
)
from services.mesh.edge.transport import LingeringTransport

_LINGER_SECONDS = 2.0
_WRITE_STALL_SECONDS = 60.0
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]{1,255}")


class EdgeProtocol(HttpToolsProtocol):
    """One client connection. body_of and headers: what a refusal by this protocol says, as a JSON body and further header lines.

    admit: whether this connection may ask for anything; None for all.
    """

    def __init__(
        self,
        *arguments: Any,
        limits: EdgeLimits,
        body_of: EdgeBody,
        headers: Sequence[bytes] = (),
        admit: Callable[[asyncio.BaseTransport], bool] | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(*arguments, **keywords)
        self._admit = admit
        self._limits = limits
        self._body_of = body_of
        self._refusal_headers = headers
        self.url = b""
        self._raw: asyncio.Transport | None = None
        self._in_head = True
        self._message_ended = False
        self._head_bytes = 0
        self._idle_bytes = 0
        self._window_bytes = 0
        self._linger_bytes: int | None = None
        self._problem: tuple[int, str, str] = (400, "BAD_REQUEST", "This is not a well-formed HTTP request.")
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    @property
    def body_unread(self) -> bool:
        """Whether the client may still be sending the request in hand."""
        return not self._in_head

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first head, unless there are too many connections."""
        self._raw = transport
        super().connection_made(LingeringTransport(transport, self))
        self._expect_head()
        if len(self.connections) > self._limits.max_connections:
            self._refuse(503, "OVERLOADED", "Too many connections are open; try again soon.")
        elif self._admit is not None and not self._admit(transport):
            self._refuse(403, "SERVICE_NOT_ALLOWED", "The service of this certificate has nothing to ask here.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every clock."""
        self._disarm()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, a head no further than its bound."""
        if self._linger_bytes is not None:
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
        if self._linger_bytes is not None:
            # Refused, and its clock is the last one.
            return
        if self._in_head:
            # What ended a request is no part of the next one's head.
            self._head_bytes = 0 if self._message_ended else self._head_bytes + len(data)
        elif head_before:
            self._expect_body()
        elif self._idle_bytes > 2 * MAX_HEAD_BYTES:
            self._refuse(400, "BAD_REQUEST", "The body's chunk extensions or trailers are too large.")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        """Some of the target. Raises ValueError, which the parser turns into a refusal."""
        super().on_url(url)
        if len(self.url) > MAX_TARGET_BYTES:
            self._reject("The target of the request is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. Raises ValueError, as above."""
        super().on_header(name, value)
        if len(self.headers) > MAX_HEADERS:
            self._reject(f"A request has at most {MAX_HEADERS} headers.")

    def on_headers_complete(self) -> None:
        """The head is whole. Raises ValueError, as above."""
        self._check_head()
        self._in_head = False
        self._head_bytes = self._idle_bytes = 0
        self._disarm()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_head = self._message_ended = True
        self._head_bytes = 0
        self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is out: if nobody read its request to the end, there is no connection left for a next one."""
        if self.body_unread and self.cycle.response_complete:
            self.transport.close()
        super().on_response_complete()

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
        if len(self.pipeline) >= MAX_PIPELINED:
            self._reject(f"Wait for answers: at most {MAX_PIPELINED} requests may be under way on a connection.")

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
        self.transport.write(refusal(status, self._body_of(path, status, code, sentence), self._refusal_headers))
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
        least = self._limits.body_bytes_per_second * self._limits.body_deadline_seconds / 2
        asked_for = not (self.flow.read_paused or self.cycle.response_started or self.cycle.waiting_for_100_continue)
        if self._window_bytes < least and asked_for:
            self._refuse(408, "REQUEST_TIMEOUT", "The body of the request arrives too slowly.")
        elif not self.transport.is_closing():
            self._expect_body()

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def linger(self) -> None:
        """Drop what a client still sends after its answer, for a bounded time, then close.

        Past the bytes that are read away the kernel holds the client back: closing at once would reset the connection, and a
        reset may take the answer with it.
        """
        self._linger_bytes = linger_bytes(self.scope if self.cycle is not None else None)
        self._disarm()
        self.flow.resume_reading()
        self._deadline = self.loop.call_later(_LINGER_SECONDS, self._close_now)

    def _discard(self, data: bytes) -> None:
        self._linger_bytes = (self._linger_bytes or 0) - len(data)
        if self._linger_bytes < 0:
            self.flow.pause_reading()

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
