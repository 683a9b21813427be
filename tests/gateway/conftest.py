"""One gateway over one set of peers for the whole session; every test has keys of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from services.gateway.app import app
from services.gateway.settings import GatewaySettings
from services.mesh.identity import load_key, write_new_key
from services.mesh.lifecycle import Lifecycle
from tests.gateway.identity_bench import Bench, open_bench
from tests.gateway.peers.serving import Addresses, open_world
from tests.gateway.peers.world import World
from tests.servers import free_port


@dataclass
class Running:
    """A gateway that serves, and what is behind it."""

    world: World
    settings: GatewaySettings
    lifecycle: Lifecycle
    addresses: Addresses
    clients: list[httpx2.AsyncClient] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A raw connection."""
        return await asyncio.open_connection("127.0.0.1", self.settings.port, limit=2**20)

    async def exchange(self, request: bytes, seconds: float = 60) -> bytes:
        """Everything that is answered to raw bytes until the connection closes."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            await writer.drain()
            async with asyncio.timeout(seconds):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def open_gateway(folder: Path, **changes: Any) -> AsyncIterator[Running]:
    """A gateway with its own peers; `changes` are settings."""
    key_file = folder / "identity.pem"
    if not key_file.exists():
        write_new_key(key_file)
    async with open_world(load_key(key_file)) as (world, addresses):
        defaults = {
            "port": free_port(),
            "identity_key_file": key_file,
            **{f"{name}_address": address for name, address in vars(addresses).items()},
            "storage_data_url": world.data_url,
            "nats_url": f"nats://127.0.0.1:{free_port()}",
            "shutdown_grace_seconds": 2.0,
        }
        settings = GatewaySettings(**{**defaults, **changes})
        lifecycle = Lifecycle(settings.shutdown_grace_seconds)
        async with app(settings, lifecycle):
            yield Running(world, settings, lifecycle, addresses)
            lifecycle.stop()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """The shared gateway: small limits and short deadlines."""
    folder = tmp_path_factory.mktemp("gateway")
    async with open_gateway(folder, keepalive_seconds=0.2, header_deadline_seconds=1.0, body_deadline_seconds=1.0) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def client(gateway: Running) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client with a fresh workspace key."""
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"x-api-key": gateway.world.new_key()}, timeout=60, verify=False) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """An identity for all tests of a file."""
    async with open_bench(tmp_path_factory.mktemp("identity")) as opened:
        yield opened


@pytest.fixture
def form() -> Callable[..., bytes]:
    """Builds multipart bodies with the boundary "b"."""
    return build_form


def build_form(*parts: tuple[str, bytes], closed: bool = True) -> bytes:
    """(rest of the Content-Disposition line, content) pairs as a body."""
    body = b"".join(b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
    return body + (b"--b--\r\n" if closed else b"")
