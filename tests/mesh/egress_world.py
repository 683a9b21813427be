"""A small internet on loopback: 127.0.0.2 plays the public part, and canaries on 127.0.0.1 and ::1 count who comes."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

from services.mesh.egress.addresses import Address, read_policy
from services.mesh.egress.egress import Egress, open_egress
from services.mesh.egress.limits import FetchLimits
from tests.certificates import Identity

PUBLIC = "127.0.0.2"
POLICY = read_policy([f"{PUBLIC}/32"])
QUICK = FetchLimits(
    resolve_seconds=0.3,
    connect_seconds=2.0,
    idle_seconds=0.4,
    total_seconds=5.0,
    max_head_bytes=16 * 1024,
    window_seconds=0.3,
    floor_seconds=0.0,
)
Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class World:
    """The way out under test, the servers around it, and what they saw."""

    egress: Egress
    port: int
    names: dict[str, list[Sequence[str]]]
    pages: dict[str, Answer] = field(default_factory=dict)
    heads: list[bytes] = field(default_factory=list)
    canary_visits: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def url(self, path: str = "/", name: str = "media.example") -> str:
        """Where a page of the public server is."""
        return f"http://{name}:{self.port}{path}"

    async def fetch(self, url: str, max_bytes: int = 1 << 20) -> bytes:
        """The whole body."""
        async with self.egress.stream(url, max_bytes=max_bytes) as reply:
            return b"".join([piece async for piece in reply.pieces()])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request with the page of its path."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if length := re.search(rb"content-length: *([0-9]+)", head, re.IGNORECASE):
                head += await reader.readexactly(int(length[1]))
            self.heads.append(head)
            path = head.split(b" ")[1].decode().partition("?")[0]
            await self.pages.get(path, missing)(head, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # A cancelled handler must not be an error in asyncio's log: the test is over.
            writer.transport.abort()
        finally:
            writer.close()

    async def resolve(self, name: str) -> Sequence[Address]:
        """What the names are set to; each asking takes the next set of answers, the last one stays."""
        self.asked.append(name)
        sets = self.names.get(name, [["127.0.0.1"]])
        answers = sets.pop(0) if len(sets) > 1 else sets[0]
        if answers and answers[0] == "never":
            await asyncio.Event().wait()
        return [ip_address(answer) for answer in answers]


async def missing(head: bytes, writer: asyncio.StreamWriter) -> None:
    """404."""
    await send(writer, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


async def send(writer: asyncio.StreamWriter, content: bytes) -> None:
    """All of it, if somebody listens."""
    writer.write(content)
    await writer.drain()


def page(body: bytes, status: str = "200 OK", headers: Mapping[str, str] | None = None) -> Answer:
    """A whole, honest reply."""
    lines = {"Content-Length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return raw(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body)


def raw(content: bytes) -> Answer:
    """These bytes, then the end."""

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        await send(writer, content)

    return answer


def redirect(location: str, status: int = 302) -> Answer:
    """To another place."""
    return raw(f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())


@asynccontextmanager
async def open_world(limits: FetchLimits = QUICK, identity: Identity | None = None) -> AsyncIterator[World]:
    """Servers on one port of three addresses: one public, two canaries. With an identity the public one speaks TLS."""
    async with AsyncExitStack() as stack:
        trust = ssl.create_default_context(cafile=str(identity.certificate)) if identity else ssl.create_default_context()
        server_tls = identity.server_context() if identity else None
        world = World(egress=None, port=0, names={"media.example": [[PUBLIC]]})  # type: ignore[arg-type]
        world.egress = await stack.enter_async_context(open_egress(POLICY, limits, resolve=world.resolve, trust=trust))
        public = await asyncio.start_server(world.serve, PUBLIC, 0, ssl=server_tls)
        world.port = public.sockets[0].getsockname()[1]

        async def canary(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            world.canary_visits.append(writer.get_extra_info("sockname")[1])
            writer.close()

        servers = [public, *[await asyncio.start_server(canary, host, world.port) for host in ("127.0.0.1", "::1")]]
        try:
            yield world
        finally:
            for server in servers:
                server.close()
                await server.wait_closed()
