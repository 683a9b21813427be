"""The transport that an edge gives to uvicorn."""

import asyncio
from typing import Any, Protocol


class Lingering(Protocol):
    """What the transport asks of its connection when it is closed."""

    @property
    def body_unread(self) -> bool:
        """Whether the client may still be sending."""

    def linger(self) -> None:
        """Read on for a while, then close."""


class LingeringTransport(asyncio.Transport):
    """The connection's transport, whose close waits for a client that is still sending, so that it can read the answer."""

    def __init__(self, transport: asyncio.Transport, connection: Lingering) -> None:
        super().__init__()
        self._transport = transport
        self._connection = connection
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, unless the last answer is out: a pipelined request may still be at work."""
        if not self._closing:
            self._transport.write(data)

    def close(self) -> None:
        """Send nothing more; what the client still sends is read for a while."""
        if self._closing:
            return
        self._closing = True
        if self._connection.body_unread and not self._transport.is_closing():
            # TLS has no half of a connection to close: there the answer's head alone says that it is the last.
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._connection.linger()
        else:
            self._transport.close()

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._closing or self._transport.is_closing()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        self._transport.abort()

    def pause_reading(self) -> None:
        """Leave what comes in to the kernel."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the socket says."""
        return self._transport.get_extra_info(name, default)
