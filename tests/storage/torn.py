"""Clients that do not behave."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

PIECE = bytes(64 * 1024)


async def put_and_vanish(port: int, url: str, announced_bytes: int, sent_bytes: int) -> None:
    """PUT with a length, send less, reset the connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(put_head(url, announced_bytes))
    while sent_bytes > 0:
        writer.write(PIECE[:sent_bytes])
        await writer.drain()
        sent_bytes -= len(PIECE)
    writer.transport.abort()


def put_head(url: str, announced_bytes: int) -> bytes:
    """The head of a PUT that announces its length."""
    parts = urlsplit(url)
    return f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nhost: x\r\ncontent-length: {announced_bytes}\r\n\r\n".encode()


async def raw_exchange(port: int, request: bytes) -> bytes:
    """What a server answers to bytes, until it closes or has been silent for a while after an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = b""
    try:
        async with asyncio.timeout(60):
            while piece := await reader.read(65536):
                answer += piece
                if b"\r\n\r\n" in answer and answer.endswith(b"}"):
                    break
    except ConnectionError:
        return answer
    finally:
        writer.close()
    return answer


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Wait for a condition. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.005)
