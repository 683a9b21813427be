"""A recording to its transcript."""

from services.inference.artefacts import discard_artefact, media_url, store_transcript
from services.inference.audio import open_audio
from services.inference.domain import billable_ms
from services.inference.failures import blaming
from services.inference.lease import Lease
from services.inference.orders import check_order
from services.inference.patience import patiently
from services.inference.pipeline import PROGRESS_AFTER_DECODE, Order, Reports
from services.inference.room import check_room, decode_limit_ms
from services.inference.scheduling import Party
from services.inference.usecases.publishing import await_bus, publish
from services.inference.usecases.workbench import Tell, Workbench
from services.media.decode import BYTES_PER_MS
from services.mesh import fault, semconv
from steno.inference.v1.inference_events_pb2 import TranscriptCompleted
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.transcript_pb2 import Transcript

_STORE_PATIENCE_SECONDS = 60.0


async def transcribe(lease: Lease, bench: Workbench) -> Tell:
    """Hear the recording. Raises what `failure_of` judges."""
    async with blaming(bench.engine):
        transcript = await _heard(lease, bench)
    transcript.job_id = lease.job.id

    async def tell() -> None:
        await _publish_result(lease, bench, transcript)
        semconv.AUDIO_SECONDS.inc(transcript.audio_duration_ms / 1000)

    return tell


async def _heard(lease: Lease, bench: Workbench) -> Transcript:
    check_order(lease.job.config, bench.engine)
    check_room(bench.scratch, BYTES_PER_MS * lease.job.audio_duration_ms, "this audio")
    lease.engine, lease.model = bench.engine.name, bench.engine.model
    await lease.report()
    url = await media_url(bench.storage, lease.job.media_id)
    finished = await lease.list_windows(WindowTranscript)
    reports = Reports(speech=lease.report_speech, window=lease.put_window, progress=lease.advance)
    limit_ms = decode_limit_ms(lease.job.audio_duration_ms, bench.max_duration_ms)

    def decoded(done_ms: int) -> None:
        lease.advance(PROGRESS_AFTER_DECODE * min(1.0, done_ms / (lease.job.audio_duration_ms or limit_ms)))

    async with open_audio(bench.client, url, bench.sandbox, bench.scratch, limit_ms, decoded) as audio:
        fault.point("inference.work.after_decode")
        order = Order(lease.job.config, Party(lease.job.workspace_id, lease.job.id))
        return await bench.pipeline.transcribe(audio, order, finished, reports)


async def _publish_result(lease: Lease, bench: Workbench, transcript: Transcript) -> None:
    artefact_id = await patiently(
        lambda: store_transcript(bench.storage, bench.client, transcript, lease.announce), "store transcript", _STORE_PATIENCE_SECONDS
    )
    fault.point("inference.result.after_artefact")
    try:
        await await_bus(bench.bus)
    except BaseException:
        # From the first attempt to publish on, jobs may know of the artefact and owns it.
        await discard_artefact(bench.storage, artefact_id)
        raise
    await publish(bench.bus, _completed(lease, transcript, artefact_id), f"transcript:{lease.job.id}:{lease.fence}")


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
