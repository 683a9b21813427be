"""A proxy on loopback for one child process: CONNECT only, to the hosts of one site, over the way out."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from services.mesh.errors import MeshError
from services.mesh.telemetry import get_logger

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[str, int], Awaitable[Streams]]

MAX_HEAD_BYTES = 16 * 1024
MAX_TUNNELS = 16
MAX_TUNNEL_BYTES = 64 * 1024 * 1024
HEAD_SECONDS = 10.0
IDLE_SECONDS = 30.0
_PIECE_BYTES = 64 * 1024
_CONNECT = re.compile(rb"CONNECT ([a-z0-9.-]{1,253}):443 HTTP/1\.[01]\r\n", re.IGNORECASE)


class Tunnels:
    """The connections of one proxy."""

    def __init__(self, connect: Connect, domains: Sequence[str]) -> None:
        self._connect = connect
        self._domains = tuple(domains)
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection; one too many is closed."""
        if len(self._tasks) >= MAX_TUNNELS:
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer), name="site tunnel")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cut them all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            await self._tunnel(head, (reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            get_logger("storage.sites").info("tunnel broken")
        finally:
            writer.close()

    async def _tunnel(self, head: bytes, inner: Streams) -> None:
        asked = _CONNECT.match(head)
        host = asked[1].decode().lower() if asked else ""
        if not any(host == domain or host.endswith(f".{domain}") for domain in self._domains):
            await _answer(inner[1], b"403 Forbidden")
            return
        try:
            outer = await self._connect(host, 443)
        except MeshError:
            get_logger("storage.sites").info("tunnel refused", host=host)
            await _answer(inner[1], b"502 Bad Gateway")
            return
        try:
            await _answer(inner[1], b"200 Connected")
            async with asyncio.TaskGroup() as copies:
                copies.create_task(_copy(inner[0], outer[1]), name="site tunnel out")
                copies.create_task(_copy(outer[0], inner[1]), name="site tunnel in")
        except* OSError:
            get_logger("storage.sites").info("tunnel cut", host=host)
        finally:
            outer[1].close()


async def _answer(writer: asyncio.StreamWriter, status: bytes) -> None:
    writer.write(b"HTTP/1.1 " + status + b"\r\n\r\n")
    await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes one way until they end, then the end. Raises TimeoutError after silence, OSError past the limit."""
    left = MAX_TUNNEL_BYTES
    while True:
        async with asyncio.timeout(IDLE_SECONDS):
            piece = await reader.read(_PIECE_BYTES)
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
        left -= len(piece)
        if left < 0:
            raise OSError("the tunnel carried more than it may")
    if writer.can_write_eof():
        writer.write_eof()


@asynccontextmanager
async def open_proxy(connect: Connect, domains: Sequence[str]) -> AsyncIterator[str]:
    """The URL of a proxy that reaches the domains and the names below them, as long as this is entered."""
    tunnels = Tunnels(connect, domains)
    server = await asyncio.start_server(tunnels.accept, "127.0.0.1", 0, limit=MAX_HEAD_BYTES)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await tunnels.close()
        await server.wait_closed()
