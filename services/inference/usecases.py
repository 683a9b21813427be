"""What the inference service does with a job: bring it to a result or a failure, or give it back."""

import asyncio
import shutil
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import httpx2

from services.inference.artefacts import media_url, store_transcript
from services.inference.audio import open_audio
from services.inference.domain import LanguageNotSupported, LeaseLost, MediaUnprocessable, billable_ms
from services.inference.engines.engine import Engine, EngineFailed
from services.inference.lease import Lease, claim, kept
from services.inference.pipeline import Pipeline, Reports
from services.media.sandbox import Sandbox
from services.mesh import semconv
from services.mesh.bus import Bus
from services.mesh.errors import FailedPrecondition, Internal, InvalidArgument, MeshError
from services.mesh.identity import acting_for
from services.mesh.status import RemoteError
from services.mesh.streams import event_subject
from services.mesh.telemetry import get_logger
from steno.inference.v1.inference_events_pb2 import TranscriptCompleted, WorkFailed
from steno.jobs.v1.transcript_pb2 import Transcript
from steno.jobs.v1.work_service_pb2_grpc import WorkServiceAsyncStub
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

_NOT_OURS = (MeshError, EngineFailed, httpx2.HTTPError, OSError)
_RETURN_DELAY = timedelta(seconds=5)


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
    with acting_for(lease.job.workspace_id, lease.job.owner):
        await _work_under(lease, bench, stopping)


async def _work_under(lease: Lease, bench: Workbench, stopping: asyncio.Event) -> None:
    logger = get_logger("inference.work").bind(job_id=lease.job.id, fence=lease.fence)
    try:
        if not await _until(stopping, _transcribe(lease, bench)):
            logger.info("work given back, stopping")
            await lease.release()
    except LeaseLost:
        logger.info("work dropped, its lease is lost")
    except (FailedPrecondition, InvalidArgument) as error:
        logger.info("work failed", reason=error.reason())
        await _publish_failure(lease, bench, error, retryable=False)
    except _NOT_OURS as error:
        logger.warning("work given back", error=str(error))
        await lease.release(_RETURN_DELAY)
    except Exception:
        logger.exception("work broke")
        await _publish_failure(lease, bench, Internal(), retryable=True)


async def _until(stopping: asyncio.Event, work: Coroutine[object, object, None]) -> bool:
    """True when the work ended before `stopping`, with its error if it had one; else it is cancelled and over."""
    task = asyncio.create_task(work, name="work")
    stopped = asyncio.create_task(stopping.wait(), name="stopping")
    try:
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return task.done()
    finally:
        stopped.cancel()
        task.cancel()
        await asyncio.wait((task,))


async def _transcribe(lease: Lease, bench: Workbench) -> None:
    async with kept(lease):
        _check_language(lease, bench.engine)
        lease.engine, lease.model = bench.engine.name, bench.engine.model
        await lease.extend()
        transcript = await _heard(lease, bench)
        transcript.job_id = lease.job.id
        artefact_id = await store_transcript(bench.storage, bench.client, transcript)
        await bench.bus.publish(
            event_subject("inference", TranscriptCompleted),
            _completed(lease, transcript, artefact_id),
            event_id=f"transcript:{lease.job.id}:{lease.fence}",
        )
    semconv.AUDIO_SECONDS.inc(transcript.audio_duration_ms / 1000)


async def _heard(lease: Lease, bench: Workbench) -> Transcript:
    try:
        url = await media_url(bench.storage, lease.job.media_id)
    except RemoteError as error:
        if error.code is grpc.StatusCode.NOT_FOUND:
            raise MediaUnprocessable("The audio is no longer stored.") from error
        raise
    finished = await lease.list_windows()
    reports = Reports(speech=lease.report_speech, window=lease.put_window, progress=lease.advance)
    async with open_audio(bench.client, url, bench.sandbox, bench.scratch, bench.max_duration_ms) as audio:
        return await bench.pipeline.transcribe(audio, lease.job.config, finished, reports)


def _check_language(lease: Lease, engine: Engine) -> None:
    language = lease.job.config.language
    if language and language not in engine.languages:
        known = ", ".join(engine.languages)
        raise LanguageNotSupported(f"The speech model {engine.model} understands {known}, not {language}.", language=language)


def _completed(lease: Lease, transcript: Transcript, artefact_id: str) -> TranscriptCompleted:
    return TranscriptCompleted(
        job_id=lease.job.id,
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


async def _publish_failure(lease: Lease, bench: Workbench, error: MeshError, *, retryable: bool) -> None:
    failed = WorkFailed(job_id=lease.job.id, fence=lease.fence, reason=error.reason(), message=error.message, retryable=retryable)
    await bench.bus.publish(event_subject("inference", WorkFailed), failed, event_id=f"failure:{lease.job.id}:{lease.fence}")


def has_room(scratch: Path, min_free_bytes: int) -> bool:
    """True when the scratch disk can take another job."""
    return shutil.disk_usage(scratch).free >= min_free_bytes
