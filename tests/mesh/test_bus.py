"""Publishing and consuming on a real nats-server."""

import asyncio
import time
from dataclasses import replace

import nats
import pytest
from nats.js.api import RetentionPolicy

from services.mesh import consumption
from services.mesh.bus import MAX_PAYLOAD_BYTES, Bus, open_bus
from services.mesh.consumption import delay_seconds
from services.mesh.deliveries import Delivery, Pending, Reject
from services.mesh.errors import ServiceUnavailable
from services.mesh.ids import new_id
from services.mesh.streams import DEAD, EVENTS, WORK, apply_streams, work_subject
from steno.jobs.v1.jobs_events_pb2 import JobFailed, JobQueued
from tests.mesh.consumers import EVENTS_CONSUMER, SUBJECT, WORK_CONSUMER, Recorder, connect, consuming, publish, until
from tests.servers import NatsServer


async def dead_letters(server: NatsServer) -> list[dict[str, str]]:
    client = await nats.connect(server.url)
    jetstream = client.jetstream()
    info = await jetstream.stream_info(DEAD.name)
    letters = [(await jetstream.get_msg(DEAD.name, seq)).headers or {} for seq in range(1, info.state.messages + 1)]
    await client.close()
    return letters


async def test_a_published_event_arrives_with_its_id_and_type(bus: Bus) -> None:
    seen: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        seen.append(delivery)

    event_id = await publish(bus, "a")
    async with consuming(bus, EVENTS_CONSUMER, handle):
        await until(lambda: bool(seen))
    assert (seen[0].event_id, seen[0].message_type, seen[0].deliveries) == (event_id, "steno.jobs.v1.JobQueued", 1)
    assert seen[0].subject == "steno.events.jobs.JobQueued"


async def test_the_trace_crosses_the_bus(bus: Bus) -> None:
    traces: list[str] = []

    async def handle(delivery: Delivery) -> None:
        traces.append(delivery.trace_parent)

    async with consuming(bus, EVENTS_CONSUMER, handle):
        await bus.publish(SUBJECT, JobQueued(), event_id=new_id(), trace_parent="00-1-2-01")
        await until(lambda: bool(traces))
    assert traces == ["00-1-2-01"]


async def test_the_same_event_is_delivered_once(bus: Bus) -> None:
    recorder = Recorder()
    for _ in range(3):
        await bus.publish(SUBJECT, JobQueued(job_id="a"), event_id="same")
    await publish(bus, "last")
    async with consuming(bus, EVENTS_CONSUMER, recorder, concurrency=1):
        await until(lambda: "last" in recorder.jobs)
    assert recorder.jobs == ["a", "last"]


async def test_two_processes_share_a_consumers_messages(bus: Bus, nats: NatsServer) -> None:
    here, there = Recorder(), Recorder()
    async with open_bus(nats.url, name="other") as other:
        async with consuming(bus, WORK_CONSUMER, here), consuming(other, WORK_CONSUMER, there):
            await asyncio.gather(*(publish(bus, str(number), work_subject("transcription")) for number in range(100)))
            await until(lambda: len(here.jobs) + len(there.jobs) >= 100)
    assert sorted(here.jobs + there.jobs, key=int) == [str(number) for number in range(100)]


async def test_no_more_messages_are_in_hand_than_allowed(bus: Bus) -> None:
    running, most, done = 0, 0, 0

    async def handle(_delivery: Delivery) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        done += 1

    await asyncio.gather(*(publish(bus, str(number)) for number in range(30)))
    async with consuming(bus, EVENTS_CONSUMER, handle, concurrency=3):
        await until(lambda: done == 30)
    assert most == 3


async def test_pending_counts_what_waits_and_what_is_in_hand(bus: Bus) -> None:
    for number in range(3):
        await publish(bus, str(number), work_subject("transcription"))
    assert await bus.pending(WORK_CONSUMER) == Pending(waiting=3, outstanding=0)
    entered, release = asyncio.Event(), asyncio.Event()

    async def handle(_delivery: Delivery) -> None:
        entered.set()
        await release.wait()

    async with consuming(bus, WORK_CONSUMER, handle, concurrency=1):
        await entered.wait()
        assert await bus.pending(WORK_CONSUMER) == Pending(waiting=2, outstanding=1)
        release.set()
        async with asyncio.timeout(60):
            while await bus.pending(WORK_CONSUMER) != Pending(waiting=0, outstanding=0):
                await asyncio.sleep(0.01)


async def test_a_failed_message_comes_again_after_a_delay(bus: Bus) -> None:
    times: list[float] = []

    async def handle(delivery: Delivery) -> None:
        times.append(time.monotonic())
        if delivery.deliveries == 1:
            raise ZeroDivisionError

    await publish(bus, "a")
    async with consuming(bus, EVENTS_CONSUMER, handle):
        await until(lambda: len(times) == 2)
    assert 0.4 < times[1] - times[0] < 3.0


def test_the_delay_grows_to_a_minute() -> None:
    assert all(0.5 <= delay_seconds(1) <= 1.0 for _ in range(100))
    assert all(30.0 <= delay_seconds(deliveries) <= 60.0 for deliveries in range(7, 200))


async def test_a_message_whose_dependency_was_away_for_long_is_tried_within_seconds(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumption, "_FIRST_DELAY_SECONDS", 60.0)
    monkeypatch.setattr(consumption, "_AWAY_DELAY_SECONDS", 0.2)
    times: list[float] = []

    async def handle(delivery: Delivery) -> None:
        times.append(time.monotonic())
        if delivery.deliveries == 1:
            raise ServiceUnavailable

    await publish(bus, "a")
    async with consuming(bus, EVENTS_CONSUMER, handle):
        await until(lambda: len(times) == 2)
    assert times[1] - times[0] < 20.0


async def test_a_rejected_message_is_buried_with_its_reason_and_the_next_is_handled(bus: Bus, nats: NatsServer) -> None:
    handled: list[str] = []

    async def handle(delivery: Delivery) -> None:
        job_id = delivery.parse(JobQueued).job_id
        if job_id == "bad":
            raise Reject("no such\njob")
        handled.append(job_id)

    event_id = await publish(bus, "bad", work_subject("transcription"))
    await publish(bus, "good", work_subject("transcription"))
    async with consuming(bus, WORK_CONSUMER, handle, concurrency=1):
        await until(lambda: handled == ["good"])
    letters = await dead_letters(nats)
    assert [letter["Steno-Reason"] for letter in letters] == ["no such job"]
    assert letters[0]["Nats-Msg-Id"] == "dead:WORK:1"
    assert letters[0]["Steno-Event-Id"] == event_id
    assert await bus.pending(WORK_CONSUMER) == Pending(waiting=0, outstanding=0)


async def test_an_undecodable_message_is_buried(bus: Bus, nats: NatsServer) -> None:
    recorder = Recorder()
    await bus.send(SUBJECT, "steno.jobs.v1.JobQueued", b"\xff\xff\xff", event_id=new_id())
    await bus.publish(SUBJECT, JobFailed(job_id="other type"), event_id=new_id())
    await publish(bus, "good")
    async with consuming(bus, EVENTS_CONSUMER, recorder, concurrency=1):
        await until(lambda: recorder.jobs == ["good"])
    reasons = [letter["Steno-Reason"] for letter in await dead_letters(nats)]
    assert reasons == ["undecodable steno.jobs.v1.JobQueued", "expected steno.jobs.v1.JobQueued, got steno.jobs.v1.JobFailed"]


async def test_a_message_that_fails_too_often_is_buried(bus: Bus, nats: NatsServer) -> None:
    handled: list[str] = []

    async def handle(delivery: Delivery) -> None:
        handled.append(delivery.parse(JobQueued).job_id)
        if handled[-1] == "bad":
            raise ZeroDivisionError("by zero")

    await publish(bus, "bad")
    async with consuming(bus, replace(EVENTS_CONSUMER, max_tries=2), handle):
        await until(lambda: handled == ["bad", "bad"])
        await publish(bus, "good")
        await until(lambda: handled[-1] == "good")
    assert [letter["Steno-Reason"] for letter in await dead_letters(nats)] == ["ZeroDivisionError: by zero"]


async def test_a_dependency_that_is_away_does_not_bury_messages(bus: Bus, nats: NatsServer) -> None:
    tries: list[int] = []

    async def handle(delivery: Delivery) -> None:
        tries.append(delivery.deliveries)
        if delivery.deliveries < 3:
            raise ServiceUnavailable

    await publish(bus, "a")
    async with consuming(bus, replace(EVENTS_CONSUMER, max_tries=1), handle):
        await until(lambda: tries == [1, 2, 3])
    assert await dead_letters(nats) == []


async def test_a_slow_message_is_kept_by_its_handler(bus: Bus) -> None:
    deliveries: list[int] = []
    finished = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        deliveries.append(delivery.deliveries)
        await asyncio.sleep(2.5)
        finished.set()

    await publish(bus, "a", work_subject("transcription"))
    async with consuming(bus, replace(WORK_CONSUMER, ack_wait_seconds=0.6), handle):
        await asyncio.wait_for(finished.wait(), 10)
    assert deliveries == [1]
    assert await bus.pending(WORK_CONSUMER) == Pending(waiting=0, outstanding=0)


async def test_stopping_finishes_what_is_in_hand_and_takes_no_more(bus: Bus) -> None:
    stopping, entered = asyncio.Event(), asyncio.Event()
    finished: list[str] = []

    async def handle(delivery: Delivery) -> None:
        entered.set()
        await asyncio.sleep(0.2)
        finished.append(delivery.event_id)

    for number in range(3):
        await publish(bus, str(number), work_subject("transcription"))
    consumer = asyncio.create_task(bus.consume(WORK_CONSUMER, handle, stopping=stopping, concurrency=1))
    await entered.wait()
    stopping.set()
    await asyncio.wait_for(consumer, 5)
    assert len(finished) == 1
    assert await bus.pending(WORK_CONSUMER) == Pending(waiting=2, outstanding=0)


async def test_a_handler_that_outlives_its_grace_gives_its_message_back(bus: Bus) -> None:
    stopping, entered = asyncio.Event(), asyncio.Event()

    async def handle(_delivery: Delivery) -> None:
        entered.set()
        await asyncio.Event().wait()

    await publish(bus, "a", work_subject("transcription"))
    consumer = asyncio.create_task(bus.consume(WORK_CONSUMER, handle, stopping=stopping, concurrency=1, grace_seconds=0.1))
    await entered.wait()
    stopping.set()
    await asyncio.wait_for(consumer, 5)
    recorder = Recorder()
    async with consuming(bus, WORK_CONSUMER, recorder):
        assert await until(lambda: recorder.jobs == ["a"]) < 5


async def test_an_event_with_content_is_refused(bus: Bus) -> None:
    with pytest.raises(ValueError, match="ids, not content"):
        await bus.publish(SUBJECT, JobQueued(job_id="x" * MAX_PAYLOAD_BYTES), event_id=new_id())


async def test_watching_sees_what_is_published_meanwhile_in_every_process(bus: Bus, nats: NatsServer) -> None:
    here, there = Recorder(), Recorder()
    async with open_bus(nats.url, name="other") as other:
        async with bus.watch(SUBJECT, here), other.watch(SUBJECT, there):
            await other.check()
            await publish(bus, "a")
            await until(lambda: here.jobs == there.jobs == ["a"])


async def test_streams_are_as_declared_and_brought_back_to_it(bus: Bus, nats: NatsServer) -> None:
    client = await connect(nats)
    jetstream = client.jetstream()
    work = (await jetstream.stream_info(WORK.name)).config
    assert (work.retention, work.discard, work.max_msg_size) == (RetentionPolicy.WORK_QUEUE, "new", 8192)
    await jetstream.update_stream(work.evolve(max_bytes=1_000_000))
    await apply_streams(jetstream)
    assert (await jetstream.stream_info(WORK.name)).config.max_bytes == WORK.max_bytes
    await client.close()


async def test_an_existing_consumer_takes_its_new_specification(bus: Bus, nats: NatsServer) -> None:
    recorder = Recorder()
    async with consuming(bus, EVENTS_CONSUMER, recorder):
        await publish(bus, "a")
        await until(lambda: recorder.jobs == ["a"])
    async with consuming(bus, replace(EVENTS_CONSUMER, ack_wait_seconds=7.0), recorder):
        await publish(bus, "b")
        await until(lambda: recorder.jobs == ["a", "b"])
    client = await connect(nats)
    assert (await client.jetstream().consumer_info(EVENTS.name, EVENTS_CONSUMER.name)).config.ack_wait == 7.0
    await client.close()
