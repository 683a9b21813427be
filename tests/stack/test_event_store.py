"""When nats-server is restarted for the sake of its store."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.stack import event_store
from services.stack.children import Child
from tests.stack.conftest import MakeChild, until

IDLE = "import time; time.sleep(300)"
WELL, UNWELL = "200 OK", "503 Service Unavailable"


@asynccontextmanager
async def watched(child: Child, store: Path, server: str, streams: str) -> AsyncIterator[list[str]]:
    """A kept child whose health is what a small HTTP server says; yields the paths that were asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            asked.append(path)
            status = server if "js-server-only" in path else streams
            writer.write(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        writer.close()

    stopping = asyncio.Event()
    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/healthz"
    async with listener, asyncio.TaskGroup() as tasks:
        tasks.create_task(child.keep_running(stopping), name="child")
        tasks.create_task(event_store.keep_writable(child, url, store, stopping), name="watch")
        try:
            yield asked
        finally:
            stopping.set()
            await child.stop()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_store, "_LOOK_SECONDS", 0.05)


async def test_a_store_that_takes_nothing_is_restarted_once_its_disk_has_room(make_child: MakeChild, tmp_path: Path) -> None:
    child = make_child(IDLE, "nats")
    async with watched(child, tmp_path, server=WELL, streams=UNWELL):
        await until(lambda: child.starts == 2)


@pytest.mark.parametrize(("server", "streams"), [(WELL, WELL), (UNWELL, UNWELL)])
async def test_a_server_that_is_well_or_starting_is_left_alone(make_child: MakeChild, tmp_path: Path, server: str, streams: str) -> None:
    child = make_child(IDLE, "nats")
    async with watched(child, tmp_path, server, streams) as asked:
        await until(lambda: len(asked) > 8)
        assert child.starts == 1


async def test_a_full_disk_is_waited_for(make_child: MakeChild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_store, "_FREE_BYTES_NEEDED", 2**62)
    child = make_child(IDLE, "nats")
    async with watched(child, tmp_path, server=WELL, streams=UNWELL) as asked:
        await until(lambda: len(asked) > 8)
        assert child.starts == 1
