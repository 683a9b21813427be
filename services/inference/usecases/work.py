"""A job in hand, whatever its kind: claimed, kept, concluded or given back."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from services.inference.domain import LeaseLost, Stopped
from services.inference.failures import failure_of
from services.inference.lease import Lease, claim, kept
from services.inference.usecases.detection import detect
from services.inference.usecases.publishing import publish_failure
from services.inference.usecases.training import train
from services.inference.usecases.transcription import transcribe
from services.inference.usecases.workbench import Tell, Workbench
from services.mesh import fault
from services.mesh.identity import acting_for
from services.mesh.semconv import Attribute
from services.mesh.telemetry import bound_contextvars, get_logger
from services.mesh.tracing.spans import current_span
from steno.jobs.v1.job_pb2 import Job

_FIRST_DELAY_SECONDS = 2.0
_LAST_DELAY_SECONDS = 40.0
# A training that is cancelled stops within seconds, whatever the lease: it may have hours before it.
_TRAINING_HEED_SECONDS = 2.0
_KINDS: Mapping[int, Callable[[Lease, Workbench], Awaitable[Tell]]] = {
    Job.KIND_UNSPECIFIED: transcribe,
    Job.KIND_TRAINING: train,
    Job.KIND_DETECTION: detect,
}


async def work_on(bench: Workbench, job_id: str, stopping: asyncio.Event) -> None:
    """Claim a job and finish it, or give it back when `stopping` or when something it needs is missing.

    Returns when the message about it is spent. Raises RemoteError when jobs cannot be reached to claim it.
    """
    current_span().set(Attribute.JOB_ID, job_id)
    lease = await claim(bench.work, job_id, bench.worker_id)
    if lease is None:
        return
    fault.point("inference.work.after_claim")
    if lease.job.kind == Job.KIND_TRAINING:
        lease.heed_seconds = _TRAINING_HEED_SECONDS
    with acting_for(lease.job.workspace_id, lease.job.owner), bound_contextvars(job_id=job_id, fence=lease.fence):
        await _work_under(lease, bench, stopping)


async def _work_under(lease: Lease, bench: Workbench, stopping: asyncio.Event) -> None:
    logger = get_logger("inference.work")
    try:
        async with kept(lease, stopping):
            await _conclude(lease, bench)
    except LeaseLost:
        logger.info("work dropped, its lease is lost")
    except Stopped:
        logger.info("work given back, stopping")
        await lease.release()
    except Exception as error:
        logger.warning("work given back", error=repr(error))
        await lease.release(_return_delay(lease.fence))


def _return_delay(fence: int) -> timedelta:
    """Doubles with every claim of the job, whoever claimed it, so that a fault that stays is not met in a hot loop."""
    longest = min(_LAST_DELAY_SECONDS, _FIRST_DELAY_SECONDS * 2 ** min(max(0, fence - 1), 10))
    return timedelta(seconds=longest * random.uniform(0.5, 1.0))  # noqa: S311 (jitter)


async def _conclude(lease: Lease, bench: Workbench) -> None:
    """Publish a result or a failure. Raises LeaseLost, and whatever means that the job goes back."""
    try:
        tell = await _KINDS[lease.job.kind](lease, bench)
    except Exception as error:
        failure = None if isinstance(error, LeaseLost) else failure_of(error, lease.job.attempt)
        if failure is None:
            raise
        await publish_failure(lease, bench, failure, error)
        return
    fault.point("inference.work.after_hearing")
    await tell()
