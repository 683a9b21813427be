"""A storehouse to test: real rows, real bytes on disk or on an S3 server, the real sandbox and the real listener."""

import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio

from services.media.sandbox import Sandbox, open_sandbox
from services.mesh.database import open_database
from services.mesh.migrations import migrate
from services.storage.app import MIGRATIONS, SCHEMA, base_url
from services.storage.blobs.blobs import Blobs
from services.storage.blobs.directory import DirectoryBlobs
from services.storage.blobs.s3 import S3Blobs, S3Location
from services.storage.data_plane.app import make_data_plane
from services.storage.data_plane.server import listen, open_data_plane
from services.storage.signing import UrlSigner
from services.storage.store.tables import Media
from services.storage.usecases import uploads
from services.storage.usecases.depot import Depot, Limits
from tests.servers import free_port, new_postgres_database

SAMPLE = Path(__file__).parents[2] / "samples" / "clips" / "hello.flac"
WORKSPACE = "0192f0c1-0000-7000-8000-000000000001"
STRANGER = "0192f0c1-0000-7000-8000-000000000002"
MEBIBYTE = 1024 * 1024
LIMITS = Limits(
    max_media_bytes=512 * MEBIBYTE,
    max_artefact_bytes=64 * MEBIBYTE,
    max_duration_ms=36_000_000,
    upload_url_seconds=300,
    upload_seconds=120,
    idle_seconds=1,
)


@dataclass
class Storehouse:
    """A depot behind its data plane."""

    depot: Depot
    http: httpx2.AsyncClient
    port: int
    woken: list[str] = field(default_factory=list)

    async def begin(self, filename: str = "hello.flac", limit: int = 0) -> tuple[Media, str]:
        """Announced media and where to PUT it."""
        media, grant = await uploads.begin_upload(self.depot, WORKSPACE, filename, limit)
        return media, self.depot.signer.sign(grant)

    async def put(self, content: bytes, filename: str = "hello.flac") -> Media:
        """Media whose bytes have arrived."""
        media, url = await self.begin(filename)
        response = await self.http.put(url, content=content)
        assert response.status_code == 201, response.text
        return media

    async def ready(self, content: bytes | None = None) -> Media:
        """Media that can be read."""
        media = await self.put(SAMPLE.read_bytes() if content is None else content)
        return await uploads.commit_upload(self.depot, WORKSPACE, media.id, 0)

    async def blob_keys(self) -> set[str]:
        """Keys of the published blobs."""
        return {entry.key async for batch in self.depot.blobs.entries() for entry in batch}


@dataclass(frozen=True)
class Bucket:
    """An S3 server and one bucket of it."""

    endpoint: str
    name: str

    def location(self) -> S3Location:
        """How storage reaches it."""
        return S3Location(self.name, "objects/", "us-east-1", self.endpoint, "key", "secret", timedelta(seconds=5))

    def unfinished_uploads(self) -> int:
        """Multipart uploads that were neither completed nor aborted."""
        return httpx2.get(f"{self.endpoint}/{self.name}?uploads").text.count("<Upload>")


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """moto's S3 server in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until_accepting(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


def wait_until_accepting(port: int) -> None:
    """Until something accepts on the port; at most twenty seconds."""
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


@pytest.fixture
def bucket(s3_endpoint: str) -> Bucket:
    """An empty bucket."""
    name = f"steno-{secrets.token_hex(8)}"
    httpx2.put(f"{s3_endpoint}/{name}").raise_for_status()
    return Bucket(s3_endpoint, name)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with empty tables, to copy."""
    path = tmp_path_factory.mktemp("template") / "storage.db"
    await migrate(f"sqlite+aiosqlite:///{path}", schema=SCHEMA, script_location=str(MIGRATIONS))
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A SQLite database with empty tables."""
    return f"sqlite+aiosqlite:///{shutil.copy(sqlite_template, tmp_path / 'storage.db')}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox() -> AsyncIterator[Sandbox]:
    """The sandbox, warm."""
    async with open_sandbox() as opened:
        yield opened


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[DirectoryBlobs]:
    """Blobs in a directory."""
    with ThreadPoolExecutor(4, "disk") as threads:
        blobs = DirectoryBlobs(tmp_path / "blobs", 0, threads)
        blobs.prepare()
        yield blobs


@asynccontextmanager
async def open_storehouse(database_url: str, blobs: Blobs, sandbox: Sandbox, limits: Limits = LIMITS) -> AsyncIterator[Storehouse]:
    """A depot on these parts, served on a free port."""
    woken: list[str] = []
    async with open_database(database_url, schema=SCHEMA) as database:
        with listen("127.0.0.1", 0) as listener:
            signer = UrlSigner([secrets.token_bytes(32)], base_url(listener))
            wakes = (partial(woken.append, name) for name in ("relay", "reaper", "preparer"))
            depot = Depot(database, blobs, signer, sandbox, limits, *wakes)
            async with open_data_plane(make_data_plane(depot, 64), listener, 1.0):
                async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
                    yield Storehouse(depot, http, listener.getsockname()[1], woken)


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, disk: DirectoryBlobs) -> Blobs:
    """Each place that bytes can lie in."""
    if request.param == "disk":
        return disk
    return S3Blobs(request.getfixturevalue("bucket").location(), tmp_path, presigned=False)


@pytest_asyncio.fixture(loop_scope="session")
async def storehouse(sqlite_url: str, place: Blobs, sandbox: Sandbox) -> AsyncIterator[Storehouse]:
    """One on disk, one on S3."""
    async with open_storehouse(sqlite_url, place, sandbox) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session", params=["sqlite", "postgres"])
async def row_storehouse(
    request: pytest.FixtureRequest, sqlite_url: str, disk: DirectoryBlobs, sandbox: Sandbox
) -> AsyncIterator[Storehouse]:
    """One with its rows in SQLite, one in Postgres."""
    url = sqlite_url
    if request.param == "postgres":
        url = new_postgres_database(request.getfixturevalue("postgres_url"))
        await migrate(url, schema=SCHEMA, script_location=str(MIGRATIONS))
    async with open_storehouse(url, disk, sandbox) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def disk_storehouse(sqlite_url: str, disk: DirectoryBlobs, sandbox: Sandbox) -> AsyncIterator[Storehouse]:
    """One on disk with its rows in SQLite."""
    async with open_storehouse(sqlite_url, disk, sandbox) as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["sqlite", "postgres"])
async def shared_storehouse(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, sandbox: Sandbox
) -> AsyncIterator[Storehouse]:
    """As `row_storehouse`, one of each for the whole session: for tests that look at nothing but what they made."""
    folder = tmp_path_factory.mktemp("shared")
    url = f"sqlite+aiosqlite:///{shutil.copy(sqlite_template, folder / 'storage.db')}"
    if request.param == "postgres":
        url = new_postgres_database(request.getfixturevalue("postgres_url"))
        await migrate(url, schema=SCHEMA, script_location=str(MIGRATIONS))
    with ThreadPoolExecutor(4, "disk") as threads:
        blobs = DirectoryBlobs(folder / "blobs", 0, threads)
        blobs.prepare()
        async with open_storehouse(url, blobs, sandbox) as opened:
            yield opened
