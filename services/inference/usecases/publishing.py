"""Results and failures on the bus."""

from google.protobuf.message import Message

from services.inference.failures import Failure
from services.inference.lease import Lease
from services.inference.patience import patiently
from services.inference.usecases.workbench import Workbench
from services.mesh import fault
from services.mesh.bus import Bus
from services.mesh.errors import Internal
from services.mesh.streams import event_subject
from services.mesh.telemetry import get_logger
from steno.inference.v1.inference_events_pb2 import WorkFailed

_PUBLISH_PATIENCE_SECONDS = 600.0
_CONNECT_SECONDS = 5.0


async def publish_failure(lease: Lease, bench: Workbench, failure: Failure, error: Exception) -> None:
    """Tell jobs that this claim of the job failed."""
    reason, message = failure.error.reason(), failure.error.message
    trace = error if isinstance(failure.error, Internal) else None
    get_logger("inference.work").warning("work failed", reason=reason, retryable=failure.retryable, exc_info=trace)
    failed = WorkFailed(job_id=lease.job.id, fence=lease.fence, reason=reason, message=message, retryable=failure.retryable)
    failed.workspace_id = lease.job.workspace_id
    await publish(bench.bus, failed, f"failure:{lease.job.id}:{lease.fence}")


async def await_bus(bus: Bus) -> None:
    """Return when the bus is there, however long that takes."""
    while not await bus.connected(_CONNECT_SECONDS):
        get_logger("inference.work").warning("result waits for the bus")


async def publish(bus: Bus, event: Message, event_id: str) -> None:
    """Repeats under one event id while the bus is away: the work is worth more than the wait."""
    subject = event_subject("inference", type(event))
    fault.point("inference.event.before_publish")
    await patiently(lambda: bus.publish(subject, event, event_id=event_id), event_id, _PUBLISH_PATIENCE_SECONDS)
    fault.point("inference.event.after_publish")
