"""The bus on a real nats-server that is killed, restarted, wiped and full."""

import asyncio
import signal
import time
from datetime import datetime

import nats
import pytest
from nats.js.errors import APIError

from services.mesh.bus import Bus, open_bus
from services.mesh.deliveries import Delivery
from services.mesh.errors import Overloaded, ServiceUnavailable
from services.mesh.ids import new_id
from services.mesh.streams import EVENTS, WORK, dead_subject, work_subject
from steno.jobs.v1.jobs_events_pb2 import JobQueued
from tests.mesh.consumers import EVENTS_CONSUMER, SUBJECT, WORK_CONSUMER, Recorder, connect, consuming, publish, until
from tests.proxies import open_proxy
from tests.servers import NatsServer


@pytest.mark.parametrize("wiped", [False, True])
async def test_consuming_resumes_after_the_broker_was_killed(bus: Bus, nats: NatsServer, wiped: bool) -> None:
    recorder = Recorder()
    async with consuming(bus, EVENTS_CONSUMER, recorder):
        await publish(bus, "before")
        await until(lambda: recorder.jobs == ["before"])
        nats.kill()
        if wiped:
            nats.wipe()
        await nats.start()
        started = time.monotonic()
        await published(bus, "after")
        await until(lambda: "after" in recorder.jobs)
        assert time.monotonic() - started < 4.5, "an answer was waited out"


async def published(bus: Bus, job_id: str, subject: str = SUBJECT) -> None:
    """Publish as the relay does: again with the same id until acknowledged."""
    event_id = new_id()
    async with asyncio.timeout(60):
        while True:
            try:
                await bus.publish(subject, JobQueued(job_id=job_id), event_id=event_id)
            except ServiceUnavailable:
                await asyncio.sleep(0.05)
            else:
                return


async def test_nothing_acknowledged_is_lost_when_the_broker_is_killed(bus: Bus, nats: NatsServer) -> None:
    await asyncio.gather(*(publish(bus, str(number)) for number in range(200)))
    nats.kill()
    await nats.start()
    recorder = Recorder()
    async with consuming(bus, EVENTS_CONSUMER, recorder, concurrency=16):
        await until(lambda: len(set(recorder.jobs)) == 200)


async def test_streams_and_consumer_come_back_when_they_are_deleted(bus: Bus, nats: NatsServer) -> None:
    recorder = Recorder()
    async with consuming(bus, EVENTS_CONSUMER, recorder):
        await publish(bus, "before")
        await until(lambda: recorder.jobs == ["before"])
        await delete_streams(nats)
        await published(bus, "after")
        await until(lambda: recorder.jobs == ["before", "after"])


async def test_streams_that_vanish_come_back_also_where_a_watcher_hides_it(bus: Bus, nats: NatsServer) -> None:
    heard: list[str] = []

    async def hear(delivery: Delivery) -> None:
        heard.append(delivery.parse(JobQueued).job_id)

    async with bus.watch(SUBJECT, hear):
        await delete_streams(nats)
        with pytest.raises(ServiceUnavailable):
            await publish(bus, "lost")
        await published(bus, "kept")
        assert heard == ["lost", "kept"]


async def delete_streams(server: NatsServer) -> None:
    client = await nats.connect(server.url)
    for stream in (EVENTS, WORK):
        await client.jetstream().delete_stream(stream.name)
    await client.close()


async def test_a_wiped_store_shows_in_the_streams_creation_time(bus: Bus, nats: NatsServer) -> None:
    before = await bus.stream_created(WORK)
    nats.kill()
    await nats.start()
    assert await eventually_created(bus) == before
    nats.kill()
    nats.wipe()
    await nats.start()
    assert await eventually_created(bus) > before


async def eventually_created(bus: Bus) -> datetime:
    async with asyncio.timeout(60):
        while True:
            try:
                return await bus.stream_created(WORK)
            except ServiceUnavailable:
                await asyncio.sleep(0.05)


async def test_a_publish_in_flight_fails_at_once_when_the_broker_dies(bus: Bus, nats: NatsServer) -> None:
    assert nats.process is not None
    nats.process.send_signal(signal.SIGSTOP)
    waiting = asyncio.create_task(publish(bus, "a"))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    nats.kill()
    with pytest.raises(ServiceUnavailable):
        await waiting
    assert time.monotonic() - started < 4.5, "its answer was waited out"


async def test_check_tells_a_broker_that_is_away(bus: Bus, nats: NatsServer) -> None:
    await bus.check()
    nats.kill()
    with pytest.raises(ServiceUnavailable):
        await bus.check()


async def test_opening_waits_for_a_server_that_comes_later(nats: NatsServer) -> None:
    nats.kill()

    async def connected() -> None:
        async with open_bus(nats.url, name="early") as early:
            await early.check()

    opening = asyncio.create_task(connected())
    await asyncio.sleep(0.2)
    assert not opening.done()
    await nats.start()
    await asyncio.wait_for(opening, 5)


async def test_a_full_work_queue_refuses_and_recovers(bus: Bus, nats: NatsServer) -> None:
    client = await connect(nats)
    jetstream = client.jetstream()
    await jetstream.update_stream((await jetstream.stream_info(WORK.name)).config.evolve(max_bytes=2000))
    sent = await asyncio.gather(*(publish(bus, str(number), work_subject("transcription")) for number in range(50)), return_exceptions=True)
    assert {type(result) for result in sent} == {str, Overloaded}
    accepted = (await bus.pending(WORK_CONSUMER)).waiting
    recorder = Recorder()
    async with consuming(bus, WORK_CONSUMER, recorder):
        await until(lambda: len(recorder.jobs) == accepted)
        await publish(bus, "later", work_subject("transcription"))
        await until(lambda: "later" in recorder.jobs)
    await client.close()


async def test_a_connection_that_is_closed_for_good_ends_the_service(nats: NatsServer) -> None:
    """After any error but a few nats-py never connects again; a server says this one when its configuration changes under a client."""
    ways: list[asyncio.StreamReader] = []

    async def pass_on() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", nats.port)
        ways.append(reader)
        return reader, writer

    async with open_proxy(pass_on) as proxy:
        with pytest.RaisesGroup(pytest.RaisesExc(ServiceUnavailable, match="credentials revoked")):
            async with asyncio.timeout(60), open_bus(f"nats://127.0.0.1:{proxy.port}", name="test"):
                ways[-1].feed_data(b"-ERR 'Credentials Revoked'\r\n")
                await asyncio.Event().wait()


async def test_dead_letters_that_are_not_read_are_not_dropped_for_newer_ones(bus: Bus, nats: NatsServer) -> None:
    client = await connect(nats)
    jetstream = client.jetstream()
    info = await jetstream.stream_info("DEAD")
    info.config.max_msgs = 2
    await jetstream.update_stream(info.config)
    for number in range(2):
        await jetstream.publish(dead_subject("test"), str(number).encode())
    with pytest.raises(APIError):
        await jetstream.publish(dead_subject("test"), b"one too many")
    assert (await jetstream.get_msg("DEAD", 1)).data == b"0"
    await client.close()
