"""Consumers, publishers and waiting for the tests of the bus."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client

from services.mesh.bus import Bus
from services.mesh.deliveries import Delivery
from services.mesh.ids import new_id
from services.mesh.streams import EVENTS, WORK, ConsumerSpec, event_subject, work_subject
from steno.jobs.v1.jobs_events_pb2 import JobQueued
from tests.servers import NatsServer

SUBJECT = event_subject("jobs", JobQueued)
EVENTS_CONSUMER = ConsumerSpec("test-events", EVENTS, ("steno.events.jobs.>",))
WORK_CONSUMER = ConsumerSpec("test-work", WORK, (work_subject("transcription"),), max_tries=None)
Handler = Callable[[Delivery], Awaitable[None]]


@asynccontextmanager
async def consuming(bus: Bus, spec: ConsumerSpec, handle: Handler, concurrency: int = 4) -> AsyncIterator[None]:
    """The consumer runs while the block does."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bus.consume(spec, handle, stopping=stopping, concurrency=concurrency))
        try:
            yield
        finally:
            stopping.set()


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """Seconds until the condition held."""
    started = time.monotonic()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
    return time.monotonic() - started


async def publish(bus: Bus, job_id: str, subject: str = SUBJECT) -> str:
    event_id = new_id()
    await bus.publish(subject, JobQueued(job_id=job_id), event_id=event_id)
    return event_id


class Recorder:
    """A handler that keeps the job ids it got."""

    def __init__(self) -> None:
        self.jobs: list[str] = []

    async def __call__(self, delivery: Delivery) -> None:
        self.jobs.append(delivery.parse(JobQueued).job_id)


async def connect(server: NatsServer) -> Client:
    return await nats.connect(server.url)
