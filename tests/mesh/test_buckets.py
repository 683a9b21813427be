"""Shared values: nobody overwrites what somebody else stored in between."""

import asyncio

import pytest

from services.mesh.buckets import Bucket
from services.mesh.bus import open_bus
from services.mesh.errors import ServiceUnavailable
from tests.servers import NatsServer


async def test_of_writers_at_one_moment_one_wins(nats: NatsServer) -> None:
    async with open_bus(nats.url, name="one") as one, open_bus(nats.url, name="other") as other:
        buckets = [one.bucket("race", 60), other.bucket("race", 60)]
        assert await buckets[0].read("key") == (b"", 0)
        won = await asyncio.gather(*(buckets[n % 2].replace("key", str(n).encode(), 0) for n in range(20)))
        assert won.count(True) == 1
        value, revision = await buckets[1].read("key")
        assert value == str(won.index(True)).encode()
        assert await buckets[0].replace("key", b"next", revision)
        assert (await buckets[1].read("key"))[0] == b"next"


async def test_values_are_made_anew_after_the_server_lost_them(nats: NatsServer) -> None:
    async with open_bus(nats.url, name="one") as bus:
        bucket = bus.bucket("lost", 60)
        assert await bucket.replace("key", b"value", 0)
        nats.kill()
        nats.wipe()
        await nats.start()
        async with asyncio.timeout(30):
            while not await _stored(bucket):
                await asyncio.sleep(0.05)
        assert (await bucket.read("key"))[0] == b"again"


async def _stored(bucket: Bucket) -> bool:
    try:
        return await bucket.replace("key", b"again", 0)
    except ServiceUnavailable:
        return False


async def test_a_silent_server_is_told(nats: NatsServer) -> None:
    async with open_bus(nats.url, name="one") as bus:
        bucket = bus.bucket("gone", 60)
        nats.kill()
        with pytest.raises(ServiceUnavailable):
            await bucket.read("key")
