"""A way to a server that can be slowed down, cut off, stopped in one direction, and made to lose a reply."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Literal

from tests.servers import free_port

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
Direction = Literal["to server", "to client"]
DIRECTIONS: tuple[Direction, ...] = ("to server", "to client")
# Linger for no time: closing sends RST.
_CLOSE_SECONDS = 2.0
_RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Passes connections on to a server. latency_seconds: that every piece waits. lost_replies: how many `lose_replies` lost."""

    def __init__(self, connect: Connect) -> None:
        self.port = free_port()
        self.latency_seconds = 0.0
        self.lost_replies = 0
        self._connect = connect
        self._flowing = {direction: asyncio.Event() for direction in DIRECTIONS}
        for flowing in self._flowing.values():
            flowing.set()
        self._loses: Callable[[bytes], bool] = lambda data: False
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Accept connections, again after `close`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def close(self) -> None:
        """Drop every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def closed(self) -> None:
        """Once closed, until the last connection has ended."""
        if self._serving:
            await asyncio.wait(self._serving, timeout=_CLOSE_SECONDS)

    def reset(self) -> None:
        """Break every connection with RST; new ones are accepted."""
        for writer in list(self._writers):
            _reset(writer)

    def pause(self, *directions: Direction) -> None:
        """Connections stay and are accepted, and nothing comes through that way, or both ways: the server seems to have stopped."""
        for direction in directions or DIRECTIONS:
            self._flowing[direction].clear()

    def resume(self) -> None:
        """Pass on what was held back, and everything after it."""
        for flowing in self._flowing.values():
            flowing.set()

    def lose_replies(self, to: Callable[[bytes], bool]) -> None:
        """From now on, what the server answers to data for which `to` is true is lost with its connection."""
        self._loses = to

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            beyond_reader, beyond_writer = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, beyond_writer}
        self._writers |= pair
        losing = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(reader, beyond_writer, "to server", losing))
                tasks.create_task(self._pass(beyond_reader, writer, "to client", losing))
        finally:
            self._writers -= pair

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction, losing: asyncio.Event) -> None:
        try:
            while data := await reader.read(65_536):
                await self._hold(direction)
                if direction == "to server" and self._loses(data):
                    losing.set()
                elif direction == "to client" and losing.is_set():
                    self.lost_replies += 1
                    _reset(writer)
                    return
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()

    async def _hold(self, direction: Direction) -> None:
        if self.latency_seconds:
            await asyncio.sleep(self.latency_seconds)
        await self._flowing[direction].wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0 and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@asynccontextmanager
async def open_proxy(connect: Connect) -> AsyncIterator[Proxy]:
    """A proxy that accepts until the block ends."""
    proxy = Proxy(connect)
    await proxy.open()
    try:
        yield proxy
    finally:
        proxy.resume()
        proxy.close()
        await proxy.closed()


def postgres_socket(url: str) -> tuple[Connect, Callable[[int], str]]:
    """The way to the Postgres behind a Unix socket, and the database's URL through a port."""
    address, _, directory = url.partition("?host=")
    role, _, name = address.rpartition("//")[2].partition("@/")
    return (
        lambda: asyncio.open_unix_connection(f"{directory}/.s.PGSQL.5432"),
        lambda port: f"postgresql+psycopg://{role}@127.0.0.1:{port}/{name}",
    )


@asynccontextmanager
async def postgres_proxy(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy to the Postgres behind a Unix socket, and the database's URL through it."""
    connect, through = postgres_socket(url)
    async with open_proxy(connect) as proxy:
        yield proxy, through(proxy.port)
