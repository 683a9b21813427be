"""A way to a server that can be cut off and opened again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.servers import free_port

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Proxy:
    """Passes connections on to a server."""

    def __init__(self, connect: Connect) -> None:
        self.port = free_port()
        self._connect = connect
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def close(self) -> None:
        """Drop every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    def pause(self) -> None:
        """Connections stay and are accepted, and nothing comes through: the server seems to have stopped."""
        self._flowing.clear()

    def resume(self) -> None:
        """Pass on what was held back, and everything after it."""
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        beyond_reader, beyond_writer = await self._connect()
        pair = {writer, beyond_writer}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(reader, beyond_writer))
                tasks.create_task(self._pass(beyond_reader, writer))
        finally:
            self._writers -= pair

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            return
        finally:
            writer.close()


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


@asynccontextmanager
async def postgres_proxy(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy to the Postgres behind a Unix socket, and the database's URL through it."""
    address, _, directory = url.partition("?host=")
    name = address.rpartition("/")[2]
    async with open_proxy(lambda: asyncio.open_unix_connection(f"{directory}/.s.PGSQL.5432")) as proxy:
        yield proxy, f"postgresql+psycopg://postgres@127.0.0.1:{proxy.port}/{name}"
