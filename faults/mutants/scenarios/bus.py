"""A look at the bus from outside."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import nats
from nats.js import JetStreamContext

from faults.mutants.player import LIMIT_SECONDS
from faults.mutants.stage import Stage, reached
from services.mesh.streams import EVENTS

_SERVER_SECONDS = 5.0


async def consumed(stage: Stage, consumer: str) -> None:
    """Wait until a consumer has acknowledged every event. Raises Unplayable."""

    async def is_done() -> bool:
        async with jetstream(stage) as stream:
            info = await stream.consumer_info(EVENTS.name, consumer)
        return not info.num_pending and not info.num_ack_pending

    await reached(LIMIT_SECONDS, is_done, f"{consumer} to have taken every event")


@asynccontextmanager
async def jetstream(stage: Stage) -> AsyncIterator[JetStreamContext]:
    """JetStream without our own bus, which would make lost streams anew."""
    client: Any = await nats.connect(stage.nats.url, connect_timeout=_SERVER_SECONDS, allow_reconnect=False)
    try:
        yield client.jetstream(timeout=_SERVER_SECONDS)
    finally:
        await client.close()
