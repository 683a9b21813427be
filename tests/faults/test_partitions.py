"""Cut lines: the campaign, and the proxies that cut them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from faults.campaigns import partitions
from tests.faults.conftest import Missed
from tests.proxies import Proxy, open_proxy

SECONDS = 20.0


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[Proxy, list[bytes]]]:
    """A proxy to a server that repeats what it hears, and what it has heard."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            heard.append(line)
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, open_proxy(lambda: asyncio.open_connection("127.0.0.1", port)) as proxy, asyncio.timeout(SECONDS):
        yield proxy, heard


async def until_heard(heard: list[bytes], line: bytes) -> None:
    while line not in heard:
        await asyncio.sleep(0.01)


@pytest.mark.timeout(900)
def test_cut_lines_lose_nothing_and_every_request_is_answered(missed: Missed) -> None:
    assert missed(partitions) == []


async def test_a_line_can_be_stopped_in_one_direction() -> None:
    async with echo() as (proxy, heard):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.pause("to client")
        writer.write(b"one\n")
        await until_heard(heard, b"one\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.2)
        proxy.resume()
        assert await reader.readline() == b"one\n"
        proxy.pause("to server")
        writer.write(b"two\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.2)
        assert heard == [b"one\n"]
        writer.close()


async def test_a_reset_breaks_lines_and_admits_new_ones() -> None:
    async with echo() as (proxy, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"one\n")
        await reader.readline()
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"two\n")
        assert await reader.readline() == b"two\n"
        writer.close()


async def test_the_reply_to_chosen_words_is_lost_after_they_were_heard() -> None:
    async with echo() as (proxy, heard):
        proxy.lose_replies(lambda data: b"COMMIT" in data)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"SELECT\n")
        assert await reader.readline() == b"SELECT\n"
        writer.write(b"COMMIT\n")
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        assert heard == [b"SELECT\n", b"COMMIT\n"]
        assert proxy.lost_replies == 1
        writer.close()
