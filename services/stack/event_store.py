"""Restarting nats-server once its disk has room again.

After one write that failed a stream of it takes no message any more, whatever happens to the disk, until the server is restarted;
what it acknowledged before is kept. Its /healthz says so, a publisher only sees no answer.
"""

import asyncio
import shutil
from pathlib import Path

import httpx2

from services.mesh.lifecycle import wait_or_stop
from services.mesh.telemetry import get_logger
from services.stack.children import Child

_LOOK_SECONDS = 2.0
_ANSWER_SECONDS = 2.0
_LOOKS_BEFORE_RESTART = 2
_SECONDS_AFTER_RESTART = 20.0
_FREE_BYTES_NEEDED = 16 * 1024 * 1024


async def keep_writable(server: Child, health_url: str, store: Path, stopping: asyncio.Event) -> None:
    """Restart the server when its store was found broken twice in a row, and has room, until stopping."""
    broken = 0
    async with httpx2.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:
        while not await wait_or_stop(stopping, _LOOK_SECONDS):
            broken = broken + 1 if await _is_broken(client, health_url) and _has_room(store) else 0
            if broken == _LOOKS_BEFORE_RESTART:
                get_logger("stack").warning("event store takes no messages, restarting it")
                await server.stop()
                await wait_or_stop(stopping, _SECONDS_AFTER_RESTART)
                broken = 0


async def _is_broken(client: httpx2.AsyncClient, url: str) -> bool:
    """Whether the server is well and a stream of it is not. One that does not answer is another matter."""
    try:
        server = await client.get(url, params={"js-server-only": "true"})
        streams = await client.get(url)
    except httpx2.TransportError:
        return False
    return server.is_success and streams.status_code == httpx2.codes.SERVICE_UNAVAILABLE


def _has_room(store: Path) -> bool:
    return shutil.disk_usage(store).free >= _FREE_BYTES_NEEDED
