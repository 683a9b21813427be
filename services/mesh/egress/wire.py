"""Connections to checked addresses, and the watch over what comes in on them."""

import asyncio
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore2

from services.mesh.egress.addresses import Address
from services.mesh.egress.limits import FetchLimits
from services.mesh.errors import FetchFailed

MAX_ATTEMPTS = 3
# Chunks may cost as much again as what they carry, and this: their lines are no bytes of the body, so nothing else would count them.
LEAST_FRAMING_BYTES = 256 * 1024


class Meter:
    """What one fetch has used of its limits: time, bytes of heads, and speed."""

    def __init__(self, limits: FetchLimits) -> None:
        self.limits = limits
        self.started = time.monotonic()
        self.in_head = True
        self._head_bytes = 0
        self._body_bytes = 0
        self._most_body_bytes = 0
        self._window_bytes = 0
        self._window_seconds = 0.0

    def patience(self, seconds: float) -> float:
        """Seconds that the next step may take. Raises FetchFailed when there are none left."""
        self.check_time()
        return min(seconds, self.started + self.limits.total_seconds - time.monotonic())

    def check_time(self) -> None:
        """Raises FetchFailed when the fetch has taken too long."""
        if time.monotonic() - self.started >= self.limits.total_seconds:
            raise FetchFailed

    def begin_head(self) -> None:
        """From here on bytes count as those of a head."""
        self.in_head, self._head_bytes = True, 0

    def begin_body(self, most_bytes: int) -> None:
        """From here on bytes count as those of a body that has at most so many, not counting how it is put into chunks."""
        self.in_head, self._body_bytes, self._most_body_bytes = False, 0, 2 * most_bytes + LEAST_FRAMING_BYTES

    def count(self, size_bytes: int, waited_seconds: float) -> None:
        """Take note of what a read brought. Raises FetchFailed past the bounds of heads, bodies and slowness."""
        self._window_bytes += size_bytes
        self._window_seconds += waited_seconds
        self._check_size(size_bytes)
        if self._window_seconds >= self.limits.window_seconds:
            if self._window_bytes < self.limits.least_bytes_per_second * self._window_seconds:
                raise FetchFailed
            self._window_bytes, self._window_seconds = 0, 0.0

    def _check_size(self, size_bytes: int) -> None:
        if self.in_head:
            self._head_bytes += size_bytes
            too_much = self._head_bytes > self.limits.max_head_bytes
        else:
            self._body_bytes += size_bytes
            too_much = self._body_bytes > self._most_body_bytes
        if too_much:
            raise FetchFailed


class MeteredStream(httpcore2.AsyncNetworkStream):
    """A connection whose reads and writes have deadlines and are counted."""

    READ_BYTES = 64 * 1024

    def __init__(self, stream: httpcore2.AsyncNetworkStream, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Some bytes, none at the end. A head is read in small steps, so that little of the body counts as head."""
        size_bytes = min(max_bytes, 4096) if self._meter.in_head else max_bytes
        started = time.monotonic()
        async with asyncio.timeout(self._meter.patience(self._meter.limits.idle_seconds)):
            received = await self._stream.read(size_bytes)
        self._meter.count(len(received), time.monotonic() - started)
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of the bytes."""
        async with asyncio.timeout(self._meter.patience(self._meter.limits.idle_seconds)):
            await self._stream.write(buffer)

    async def aclose(self) -> None:
        """Close, without waiting for the other side."""
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """The same connection, encrypted and its peer verified."""
        async with asyncio.timeout(self._meter.patience(self._meter.limits.connect_seconds)):
            encrypted = await self._stream.start_tls(ssl_context, server_hostname)
        return MeteredStream(encrypted, self._meter)

    def get_extra_info(self, info: str) -> Any:
        """What the connection knows of itself."""
        return self._stream.get_extra_info(info)


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to addresses that were checked; the name that the HTTP library knows is for TLS and the Host header only."""

    def __init__(self, addresses: Sequence[Address], meter: Meter) -> None:
        self._addresses = addresses[:MAX_ATTEMPTS]
        self._meter = meter
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """A connection to the first of the addresses that accepts. Raises FetchFailed."""
        each_seconds = self._meter.limits.connect_seconds / len(self._addresses)
        for address in self._addresses:
            try:
                async with asyncio.timeout(self._meter.patience(each_seconds)):
                    return MeteredStream(await self._backend.connect_tcp(str(address), port), self._meter)
            except (OSError, httpcore2.NetworkError, httpcore2.TimeoutException):
                continue
        raise FetchFailed

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Never: the way out is the network."""
        raise FetchFailed

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
