"""What the inference service does with a job: bring it to a result or a failure, or give it back."""

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx2
from google.protobuf.message import Message

from services.inference.artefacts import discard_transcript, media_url, store_transcript
from services.inference.audio import open_audio
from services.inference.domain import LeaseLost, Stopped, billable_ms
from services.inference.engines.engine import Engine
from services.inference.failures import Failure, blaming, failure_of
from services.inference.lease import Lease, claim, kept
from services.inference.orders import check_order
from services.inference.patience import patiently
from services.inference.pipeline import PROGRESS_AFTER_DECODE, Order, Pipeline, Reports
from services.inference.room import decode_limit_ms, has_room
from services.inference.scheduling import Party
from services.media.decode import BYTES_PER_MS
from services.media.sandbox import Sandbox
from services.mesh import fault, semconv
from services.mesh.bus import Bus
from services.mesh.errors import Internal, ServiceUnavailable
from services.mesh.identity import acting_for
from services.mesh.streams import event_subject
from services.mesh.telemetry import bound_contextvars, get_logger
from steno.inference.v1.inference_events_pb2 import TranscriptCompleted, WorkFailed
from steno.jobs.v1.transcript_pb2 import Transcript
from steno.jobs.v1.work_service_pb2_grpc import WorkServiceAsyncStub
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

_FIRST_DELAY_SECONDS = 2.0
_LAST_DELAY_SECONDS = 40.0
_STORE_PATIENCE_SECONDS = 60.0
_PUBLISH_PATIENCE_SECONDS = 600.0
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Workbench:
    """What work needs: the other services, the engine, the sandbox, room on a disk."""

    work: WorkServiceAsyncStub
    storage: StorageServiceAsyncStub
    client: httpx2.AsyncClient
    bus: Bus
    engine: Engine
    pipeline: Pipeline
    sandbox: Sandbox
    scratch: Path
    max_duration_ms: int
    worker_id: str


async def work_on(bench: Workbench, job_id: str, stopping: asyncio.Event) -> None:
    """Claim a job and finish it, or give it back when `stopping` or when something it needs is missing.

    Returns when the message about it is spent. Raises RemoteError when jobs cannot be reached to claim it.
    """
    lease = await claim(bench.work, job_id, bench.worker_id)
    if lease is None:
        return
    fault.point("inference.work.after_claim")
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
        async with blaming(bench.engine):
            transcript = await _heard(lease, bench)
    except Exception as error:
        failure = None if isinstance(error, LeaseLost) else failure_of(error, lease.job.attempt)
        if failure is None:
            raise
        await _publish_failure(lease, bench, failure, error)
        return
    fault.point("inference.work.after_hearing")
    transcript.job_id = lease.job.id
    await _publish_result(lease, bench, transcript)
    semconv.AUDIO_SECONDS.inc(transcript.audio_duration_ms / 1000)


async def _heard(lease: Lease, bench: Workbench) -> Transcript:
    check_order(lease.job.config, bench.engine)
    _check_room(lease, bench.scratch)
    lease.engine, lease.model = bench.engine.name, bench.engine.model
    await lease.report()
    url = await media_url(bench.storage, lease.job.media_id)
    finished = await lease.list_windows()
    reports = Reports(speech=lease.report_speech, window=lease.put_window, progress=lease.advance)
    limit_ms = decode_limit_ms(lease.job.audio_duration_ms, bench.max_duration_ms)

    def decoded(done_ms: int) -> None:
        lease.advance(PROGRESS_AFTER_DECODE * min(1.0, done_ms / (lease.job.audio_duration_ms or limit_ms)))

    async with open_audio(bench.client, url, bench.sandbox, bench.scratch, limit_ms, decoded) as audio:
        fault.point("inference.work.after_decode")
        order = Order(lease.job.config, Party(lease.job.workspace_id, lease.job.id))
        return await bench.pipeline.transcribe(audio, order, finished, reports)


def _check_room(lease: Lease, scratch: Path) -> None:
    """A job that cannot fit must not fill the disk under the others. Raises ServiceUnavailable."""
    if not has_room(scratch, BYTES_PER_MS * lease.job.audio_duration_ms):
        raise ServiceUnavailable("The scratch disk has no room for this audio.")


async def _publish_result(lease: Lease, bench: Workbench, transcript: Transcript) -> None:
    artefact_id = await patiently(
        lambda: store_transcript(bench.storage, bench.client, transcript, lease.announce), "store transcript", _STORE_PATIENCE_SECONDS
    )
    fault.point("inference.result.after_artefact")
    try:
        while not await bench.bus.connected(_CONNECT_SECONDS):
            get_logger("inference.work").warning("result waits for the bus")
    except BaseException:
        # From the first attempt to publish on, jobs may know of the artefact and owns it.
        await discard_transcript(bench.storage, artefact_id)
        raise
    await _publish(bench.bus, _completed(lease, transcript, artefact_id), f"transcript:{lease.job.id}:{lease.fence}")


def _completed(lease: Lease, transcript: Transcript, artefact_id: str) -> TranscriptCompleted:
    return TranscriptCompleted(
        job_id=lease.job.id,
        workspace_id=lease.job.workspace_id,
        fence=lease.fence,
        transcript_artefact_id=artefact_id,
        language=transcript.language,
        speech_detected=transcript.speech_detected,
        speech_ratio=transcript.speech_ratio,
        audio_duration_ms=transcript.audio_duration_ms,
        billable_ms=billable_ms(transcript.audio_duration_ms, transcript.speech_detected),
        truncated=transcript.truncated,
        engine=transcript.engine,
        model=transcript.model,
    )


async def _publish_failure(lease: Lease, bench: Workbench, failure: Failure, error: Exception) -> None:
    reason, message = failure.error.reason(), failure.error.message
    trace = error if isinstance(failure.error, Internal) else None
    get_logger("inference.work").warning("work failed", reason=reason, retryable=failure.retryable, exc_info=trace)
    failed = WorkFailed(job_id=lease.job.id, fence=lease.fence, reason=reason, message=message, retryable=failure.retryable)
    failed.workspace_id = lease.job.workspace_id
    await _publish(bench.bus, failed, f"failure:{lease.job.id}:{lease.fence}")


async def _publish(bus: Bus, event: Message, event_id: str) -> None:
    """Repeats under one event id while the bus is away: the work is worth more than the wait."""
    subject = event_subject("inference", type(event))
    fault.point("inference.event.before_publish")
    await patiently(lambda: bus.publish(subject, event, event_id=event_id), event_id, _PUBLISH_PATIENCE_SECONDS)
    fault.point("inference.event.after_publish")
