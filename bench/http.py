"""A lean HTTP client: what it costs is the same for subject and baseline, and little."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Self, cast
from urllib.parse import urlsplit

from bench.report import percentile

_ANSWER_SECONDS = 60.0
Ask = Callable[[], Awaitable[object]]
Client = Callable[[], AbstractAsyncContextManager[Ask]]


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """From a URL."""
        parts = urlsplit(url)
        return cls(parts.hostname or "127.0.0.1", parts.port or 80)


@dataclass(frozen=True)
class Load:
    """What a closed loop of clients saw; latencies in milliseconds."""

    rate: float
    p50: float
    p99: float

    @classmethod
    def of(cls, latencies: list[float], seconds: float) -> Self:
        """From every answer's latency in milliseconds and the time that all of them took."""
        return cls(len(latencies) / seconds, percentile(latencies, 0.5), percentile(latencies, 0.99))


def request(method: str, target: str, *, api_key: str = "", body: bytes = b"", content_type: str = "") -> bytes:
    """A whole request."""
    lines = [f"{method} {target} HTTP/1.1", "host: bench"]
    if api_key:
        lines.append(f"x-api-key: {api_key}")
    if body:
        lines += [f"content-length: {len(body)}", f"content-type: {content_type}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection(asyncio.Protocol):
    """A kept-alive connection; one request at a time, answers with a Content-Length. Made by `connect`."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # uvloop's transports have the interface but not the class.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Finish the answer once all of it is here."""
        self._buffer += data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0 or self._answer is None:
            return
        head = bytes(self._buffer[:head_end])
        end = head_end + 4 + _content_length(head)
        if len(self._buffer) >= end:
            body = bytes(self._buffer[head_end + 4 : end])
            del self._buffer[:end]
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits learns of it."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("closed by the server"))

    async def ask(self, message: bytes) -> tuple[int, bytes]:
        """Status and body. Raises ConnectionError."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(message)
        return await self._answer

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.find(b"\r\ncontent-length:")
    if start < 0:
        return 0
    return int(lowered[start + 17 :].split(b"\r\n", 1)[0])


@asynccontextmanager
async def connect(address: Address) -> AsyncIterator[Connection]:
    """A connection, closed on leaving."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, address.host, address.port)
    try:
        yield connection
    finally:
        connection.close()


async def closed_loop(address: Address, message: bytes, clients: int, seconds: float) -> Load:
    """So many clients, each asking again as soon as it is answered. Raises RuntimeError on any status but 200."""

    @asynccontextmanager
    async def asking() -> AsyncIterator[Ask]:
        async with connect(address) as connection:
            yield lambda: expect(connection, message, 200)

    return await load(asking, clients, seconds)


async def load(client: Client, clients: int, seconds: float) -> Load:
    """So many clients, each asking again as soon as it is answered."""
    latencies: list[float] = []
    started = time.perf_counter()

    async def ask_on() -> None:
        async with client() as ask:
            while (asked := time.perf_counter()) < started + seconds:
                await ask()
                latencies.append((time.perf_counter() - asked) * 1000)

    async with asyncio.timeout(seconds + _ANSWER_SECONDS), asyncio.TaskGroup() as tasks:
        for number in range(clients):
            tasks.create_task(ask_on(), name=f"client {number}")
    return Load.of(latencies, time.perf_counter() - started)


async def expect(connection: Connection, message: bytes, status: int) -> bytes:
    """The body of an answer with this status. Raises RuntimeError on another."""
    answered, body = await connection.ask(message)
    if answered != status:
        raise RuntimeError(f"answered {answered}: {body[:300]!r}")
    return body


async def paced(address: Address, message: bytes, every_seconds: float, stop: asyncio.Event) -> list[float]:
    """Latencies in milliseconds of one client that asks at a steady pace until stopped."""
    latencies: list[float] = []
    async with connect(address) as connection:
        while not stop.is_set():
            asked = time.perf_counter()
            await expect(connection, message, 200)
            latencies.append((time.perf_counter() - asked) * 1000)
            await asyncio.sleep(every_seconds)
    return latencies
