"""The outbox: an event is published if and only if its cause was committed, whatever happens to the broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import MetaData, update

from services.mesh.bus import MAX_PAYLOAD_BYTES, Bus, open_bus
from services.mesh.columns import now_utc_sql
from services.mesh.database import Database, open_database
from services.mesh.deliveries import Delivery
from services.mesh.outbox import OutboxRelay, outbox_table, publish_later
from services.mesh.streams import EVENTS, ConsumerSpec, event_subject
from steno.jobs.v1.jobs_events_pb2 import JobQueued
from tests.servers import NatsServer

METADATA = MetaData()
OUTBOX = outbox_table(METADATA)
SUBJECT = event_subject("jobs", JobQueued)
CONSUMER = ConsumerSpec("outbox-test", EVENTS, (SUBJECT,))


@pytest.fixture(autouse=True)
async def tables(database: Database) -> None:
    """An empty outbox."""
    async with database.transaction() as session:
        await (await session.connection()).run_sync(METADATA.create_all)


@pytest.fixture
async def relay(database: Database, bus: Bus) -> OutboxRelay:
    """A relay that is not running."""
    return OutboxRelay(database, OUTBOX, bus)


@asynccontextmanager
async def running(relay: OutboxRelay) -> AsyncIterator[None]:
    """The relay runs while the block does."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(relay.run(stopping))
        try:
            yield
        finally:
            stopping.set()


class Received:
    """The consumer's side: job ids and event ids in the order they came."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.ids: list[str] = []

    async def __call__(self, delivery: Delivery) -> None:
        self.jobs.append(delivery.parse(JobQueued).job_id)
        self.ids.append(delivery.event_id)

    async def until(self, count: int, seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds):
            while len(set(self.ids)) < count:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def receiving(bus: Bus) -> AsyncIterator[Received]:
    """A consumer of the events while the block runs."""
    received, stopping = Received(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bus.consume(CONSUMER, received, stopping=stopping, concurrency=16))
        try:
            yield received
        finally:
            stopping.set()


async def store(database: Database, *jobs: str) -> list[str]:
    async with database.transaction() as session:
        return [await publish_later(session, OUTBOX, SUBJECT, JobQueued(job_id=job)) for job in jobs]


async def test_a_committed_event_arrives_under_its_id(database: Database, bus: Bus, relay: OutboxRelay) -> None:
    async with receiving(bus) as received, running(relay):
        ids = await store(database, "a")
        relay.wake()
        await received.until(1)
    assert received.ids == ids
    assert (await relay.backlog()).depth == 0


async def test_a_rolled_back_event_is_never_published(database: Database, bus: Bus, relay: OutboxRelay) -> None:
    async def failing() -> None:
        async with database.transaction() as session:
            await publish_later(session, OUTBOX, SUBJECT, JobQueued(job_id="undone"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    async with receiving(bus) as received, running(relay):
        await store(database, "done")
        await received.until(1)
    assert received.jobs == ["done"]


async def test_an_event_nobody_woke_the_relay_for_is_found_by_the_poll(database: Database, bus: Bus, relay: OutboxRelay) -> None:
    async with receiving(bus) as received, running(relay):
        await asyncio.sleep(0.05)
        await store(database, "a")
        await received.until(1, seconds=2)


async def test_a_thousand_events_all_arrive_once(database: Database, bus: Bus, relay: OutboxRelay) -> None:
    ids = await store(database, *(str(number) for number in range(1000)))
    async with receiving(bus) as received, running(relay):
        await received.until(1000)
    assert sorted(received.ids) == sorted(ids)


async def test_two_relays_do_not_publish_the_same_twice(
    database: Database, database_url: str, bus: Bus, nats: NatsServer, relay: OutboxRelay
) -> None:
    ids = await store(database, *(str(number) for number in range(400)))
    async with open_database(database_url, schema="public") as replica, open_bus(nats.url, name="replica") as other:
        async with receiving(bus) as received, running(relay), running(OutboxRelay(replica, OUTBOX, other)):
            await received.until(400)
    assert sorted(received.ids) == sorted(ids)


@pytest.mark.parametrize("wiped", [False, True])
async def test_events_committed_while_the_broker_is_dead_arrive(
    database: Database, bus: Bus, nats: NatsServer, relay: OutboxRelay, wiped: bool
) -> None:
    async with receiving(bus) as received, running(relay):
        await store(database, "before")
        await received.until(1)
        nats.kill()
        await store(database, *(str(number) for number in range(50)))
        relay.wake()
        if wiped:
            nats.wipe()
        await nats.start()
        await received.until(51)
    assert {"before", *(str(number) for number in range(50))} == set(received.jobs)


async def test_an_event_of_the_outage_is_out_within_two_seconds_of_a_wiped_broker(
    database: Database, bus: Bus, nats: NatsServer, relay: OutboxRelay
) -> None:
    async def heard(delivery: Delivery) -> None:
        """Somebody who watches makes the server silent about a stream that is gone."""

    async with bus.watch(SUBJECT, heard), running(relay):
        for number in range(5):
            nats.kill()
            nats.wipe()
            await store(database, str(number))
            relay.wake()
            await nats.start()
            async with asyncio.timeout(2):
                while (await relay.backlog()).depth:
                    await asyncio.sleep(0.01)


async def test_a_broker_killed_amid_the_relay_loses_nothing(database: Database, bus: Bus, nats: NatsServer, relay: OutboxRelay) -> None:
    async with receiving(bus) as received, running(relay):
        ids = await store(database, *(str(number) for number in range(600)))
        relay.wake()
        await received.until(20)
        nats.kill()
        await nats.start()
        await received.until(600)
    assert set(received.ids) == set(ids)


async def test_a_relay_that_died_before_marking_sends_again_under_the_same_id(database: Database, bus: Bus, relay: OutboxRelay) -> None:
    [event_id] = await store(database, "a")
    await bus.send(SUBJECT, "steno.jobs.v1.JobQueued", b"", event_id=event_id)
    async with receiving(bus) as received, running(relay):
        await store(database, "last")
        relay.wake()
        await received.until(2)
    assert received.ids.count(event_id) == 1


async def test_the_backlog_tells_depth_and_age(database: Database, relay: OutboxRelay) -> None:
    await store(database, "a", "b")
    async with database.transaction() as session:
        old = now_utc_sql(database.dialect, -timedelta(seconds=90))
        await (await session.connection()).execute(update(OUTBOX).values(create_time=old))
    backlog = await relay.backlog()
    assert backlog.depth == 2
    assert 89 < backlog.oldest_seconds < 95


async def test_pruning_deletes_only_what_was_sent_long_ago(database: Database, relay: OutboxRelay) -> None:
    old_id, young_id, unsent_id = await store(database, "old", "young", "unsent")
    async with database.transaction() as session:
        connection = await session.connection()
        for event_id, age_days in ((old_id, 8), (young_id, 6)):
            sent = now_utc_sql(database.dialect, -timedelta(days=age_days))
            await connection.execute(update(OUTBOX).where(OUTBOX.c.id == event_id).values(sent_time=sent))
    assert await relay.prune() == 1
    async with database.reading() as session:
        left = (await (await session.connection()).execute(OUTBOX.select())).all()
    assert {row.id for row in left} == {young_id, unsent_id}


async def test_an_event_too_large_for_the_bus_is_refused_with_its_cause(database: Database) -> None:
    with pytest.raises(ValueError, match="ids, not content"):
        await store(database, "x" * MAX_PAYLOAD_BYTES)


async def test_an_outage_of_the_broker_does_not_delay_events_after_it(
    database: Database, bus: Bus, nats: NatsServer, relay: OutboxRelay
) -> None:
    nats.kill()
    async with receiving(bus) as received, running(relay):
        await store(database, "a")
        relay.wake()
        await asyncio.sleep(1.5)
        await nats.start()
        await received.until(1, seconds=2)
    async with database.reading() as session:
        assert [row.attempts for row in (await (await session.connection()).execute(OUTBOX.select())).all()] == [0]
