"""Messages of the work queue, each handed to a use case."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from services.inference.room import has_room
from services.inference.usecases.work import work_on
from services.inference.usecases.workbench import Workbench
from services.mesh.bus import Bus
from services.mesh.deliveries import Delivery
from services.mesh.errors import ServiceUnavailable
from services.mesh.streams import ConsumerSpec, work_consumer
from steno.jobs.v1.jobs_events_pb2 import WorkDispatched

TRANSCRIPTION = work_consumer("transcription")
TRAINING = work_consumer("training")
DETECTION = work_consumer("detection")


async def consume_work(
    bus: Bus,
    bench: Workbench,
    stopping: asyncio.Event,
    *,
    slots: int,
    min_free_bytes: int,
    paused: Callable[[], bool] = lambda: False,
    work: ConsumerSpec = TRANSCRIPTION,
) -> None:
    """Work on so many jobs of a class at once until stopping. While `paused` says so none is begun; those in hand go on."""

    async def handle(delivery: Delivery) -> None:
        _check_room(bench.scratch, min_free_bytes)
        await work_on(bench, delivery.parse(WorkDispatched).job_id, stopping)

    await bus.consume(work, handle, stopping=stopping, concurrency=slots, paused=paused)


def _check_room(scratch: Path, min_free_bytes: int) -> None:
    if not has_room(scratch, min_free_bytes):
        raise ServiceUnavailable("The scratch disk is full.")
