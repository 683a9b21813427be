"""Clients that hold a connection and hardly use it, thousands of them in one process of their own."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from faults.corpora.http.vector import head

Phase = Literal["head", "body"]
_DRIP_SECONDS = 3.0
_PATIENCE_SECONDS = 60.0
_FORM = "Content-Type: multipart/form-data; boundary=b"
_START = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


@dataclass(frozen=True, slots=True)
class SlowClient:
    """opening: what it sends at once. drip: what it sends every three seconds, if anything. phase: what the server waits for."""

    kind: str
    phase: Phase
    port: int
    opening: bytes
    drip: bytes = b""


@dataclass(frozen=True, slots=True)
class Closure:
    """seconds: from the opening to the end of the connection; infinite where nobody ended it."""

    kind: str
    phase: Phase
    seconds: float


def slow_clients(count: int, gateway_port: int, storage_port: int, api_key: str) -> Iterator[SlowClient]:
    """So many clients, of every kind alike."""
    key, long, json = f"X-API-Key: {api_key}", "Content-Length: 100000", "Content-Type: application/json"
    form, order = (
        head("POST /api/v1/transcribe", key, _FORM, long),
        head("POST /api/v1/auth/api-keys", key, json, long),
    )
    kinds = [
        SlowClient("silent", "head", gateway_port, b""),
        SlowClient("head by the line", "head", gateway_port, b"GET /healthz HTTP/1.1\r\n", b"X-A: b\r\n"),
        SlowClient("head by the letter", "head", gateway_port, b"G", b"E"),
        SlowClient("form never sent", "body", gateway_port, form),
        SlowClient("form by the letter", "body", gateway_port, form + _START, b"a"),
        SlowClient("JSON never sent", "body", gateway_port, order),
        SlowClient("JSON by the letter", "body", gateway_port, order, b" "),
        SlowClient("chunk by the letter", "body", gateway_port, order.replace(long.encode(), b"Transfer-Encoding: chunked"), b"1\r\n \r\n"),
        SlowClient("silent at storage", "head", storage_port, b""),
        SlowClient("head by the line at storage", "head", storage_port, b"GET /media HTTP/1.1\r\n", b"X-A: b\r\n"),
    ]
    for number in range(count):
        yield kinds[number % len(kinds)]


def besiege(clients: Sequence[SlowClient], ramp_seconds: float) -> list[Closure]:
    """Open all connections, evenly over the ramp, and hold each until it is closed."""
    return asyncio.run(_besiege(clients, ramp_seconds))


async def _besiege(clients: Sequence[SlowClient], ramp_seconds: float) -> list[Closure]:
    async with asyncio.TaskGroup() as tasks:
        held = [
            tasks.create_task(_hold(client, ramp_seconds * number / len(clients)), name=f"slow client {number}")
            for number, client in enumerate(clients)
        ]
    return [task.result() for task in held]


async def _hold(client: SlowClient, after_seconds: float) -> Closure:
    await asyncio.sleep(after_seconds)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    started = time.monotonic()
    try:
        writer.write(client.opening)
        ended = await _ended(reader, writer, client.drip)
    finally:
        writer.transport.abort()
    return Closure(client.kind, client.phase, time.monotonic() - started if ended else float("inf"))


async def _ended(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, drip: bytes) -> bool:
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            async with asyncio.timeout(_DRIP_SECONDS):
                if not await reader.read(65_536):
                    return True
        except TimeoutError:
            writer.write(drip)
        except OSError:
            return True
    return False
