"""Events of other services: messages in, use cases."""

import asyncio
from functools import partial

from services.jobs.usecases.detection_results import complete_detection, complete_training
from services.jobs.usecases.finish import complete_work, fail_work
from services.jobs.usecases.resources import Resources
from services.mesh.bus import Bus
from services.mesh.deliveries import Delivery, Reject
from services.mesh.streams import EVENTS, ConsumerSpec, event_subject
from steno.inference.v1.inference_events_pb2 import DetectionCompleted, TrainingCompleted, TranscriptCompleted, WorkFailed

RESULTS = ConsumerSpec(
    "jobs-results",
    EVENTS,
    (event_subject("inference", TranscriptCompleted), event_subject("inference", WorkFailed)),
)
# A consumer of its own: processes of the release before, which share the other, know nothing of these.
DETECTIONS = ConsumerSpec(
    "jobs-detections",
    EVENTS,
    (event_subject("inference", TrainingCompleted), event_subject("inference", DetectionCompleted)),
)


async def consume_results(resources: Resources, bus: Bus, *, concurrency: int, stopping: asyncio.Event) -> None:
    """What inference finished, or could not, until stopping."""
    await bus.consume(RESULTS, partial(handle_result, resources), stopping=stopping, concurrency=concurrency)


async def handle_result(resources: Resources, delivery: Delivery) -> None:
    """One event; handling it again changes nothing. Raises Reject for one that is none of ours."""
    if delivery.message_type == TranscriptCompleted.DESCRIPTOR.full_name:
        await complete_work(resources, RESULTS.name, delivery.event_id, delivery.parse(TranscriptCompleted))
    elif delivery.message_type == WorkFailed.DESCRIPTOR.full_name:
        await fail_work(resources, RESULTS.name, delivery.event_id, delivery.parse(WorkFailed))
    else:
        raise Reject(f"no handler for {delivery.message_type}")


async def consume_detections(resources: Resources, bus: Bus, *, concurrency: int, stopping: asyncio.Event) -> None:
    """What inference trained and detected, until stopping."""
    await bus.consume(DETECTIONS, partial(handle_detection, resources), stopping=stopping, concurrency=concurrency)


async def handle_detection(resources: Resources, delivery: Delivery) -> None:
    """One event; handling it again changes nothing. Raises Reject for one that is none of ours."""
    if delivery.message_type == TrainingCompleted.DESCRIPTOR.full_name:
        await complete_training(resources, DETECTIONS.name, delivery.event_id, delivery.parse(TrainingCompleted))
    elif delivery.message_type == DetectionCompleted.DESCRIPTOR.full_name:
        await complete_detection(resources, DETECTIONS.name, delivery.event_id, delivery.parse(DetectionCompleted))
    else:
        raise Reject(f"no handler for {delivery.message_type}")
