"""Events of jobs: the end of a job ends its hold."""

import asyncio

from services.billing.domain import HoldNotFound
from services.billing.usecases.batches import Batches
from services.billing.usecases.ledger import end_job
from services.mesh import fault
from services.mesh.bus import Bus
from services.mesh.deliveries import Delivery, Reject
from services.mesh.semconv import Attribute, Step
from services.mesh.streams import EVENTS, ConsumerSpec, event_subject
from services.mesh.tracing.spans import span
from steno.jobs.v1.jobs_events_pb2 import JobCancelled, JobFailed, JobSucceeded

ENDINGS: dict[str, type[JobSucceeded] | type[JobFailed] | type[JobCancelled]] = {
    message.DESCRIPTOR.full_name: message for message in (JobSucceeded, JobFailed, JobCancelled)
}
HOLDS = ConsumerSpec("billing-holds", EVENTS, tuple(event_subject("jobs", message) for message in (JobSucceeded, JobFailed, JobCancelled)))
CONCURRENCY = 32


async def take_ending(batches: Batches, delivery: Delivery) -> None:
    """Charge or give back for one event. Raises Reject for what can never succeed."""
    message = ENDINGS.get(delivery.message_type)
    if message is None:
        raise Reject(f"{delivery.message_type} does not end a job")
    event = delivery.parse(message)
    billable_ms = event.billable_ms if isinstance(event, JobSucceeded) else 0
    if billable_ms < 0:
        raise Reject("billable_ms is negative")
    fault.point("billing.ending.before_effect")
    try:
        with span(Step.SETTLE, attributes={Attribute.JOB_ID: event.job_id}):
            await end_job(batches, event.job_id, event.workspace_id, billable_ms)
    except HoldNotFound as error:
        if not isinstance(event, JobSucceeded) and event.without_media:
            return
        raise Reject("the job has no hold in its workspace") from error


async def consume_endings(batches: Batches, bus: Bus, stopping: asyncio.Event) -> None:
    """Take the endings of jobs until stopping."""

    async def handle(delivery: Delivery) -> None:
        await take_ending(batches, delivery)

    await bus.consume(HOLDS, handle, stopping=stopping, concurrency=CONCURRENCY)
