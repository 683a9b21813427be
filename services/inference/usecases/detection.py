"""A recording to what a detector finds in it."""

import asyncio
from collections.abc import Iterator, Sequence

from services.detection.detections import Detection as Found
from services.detection.detections import detections_of
from services.inference.artefacts import media_url
from services.inference.audio import Audio, open_audio
from services.inference.detecting import score
from services.inference.domain import DetectorDied, ModelDied
from services.inference.engines.engine import StoredDetector
from services.inference.failures import blaming
from services.inference.lease import Lease
from services.inference.pcm import Floats
from services.inference.room import check_room, decode_limit_ms
from services.inference.usecases.publishing import await_bus, publish
from services.inference.usecases.workbench import Tell, Workbench
from services.media.decode import BYTES_PER_MS
from services.mesh import semconv
from steno.inference.v1.checkpoints_pb2 import Detections
from steno.inference.v1.inference_events_pb2 import DetectionCompleted
from steno.jobs.v1.detector_pb2 import Detection, InferenceConfig

# Below the 1 MiB that jobs takes, for the message around them.
MOST_PART_BYTES = 900 * 1024
# For which every detector is calibrated.
USUAL_THRESHOLD = 0.5
_PROGRESS_AFTER_DECODE = 0.2
_PROGRESS_AFTER_SCORES = 0.97
# Of every message within another one.
_FRAME_BYTES = 8


async def detect(lease: Lease, bench: Workbench) -> Tell:
    """Run the detector over the file and put what it found. Raises what `failure_of` judges."""
    try:
        async with blaming(bench.engine):
            completed = await _detected(lease, bench)
    except ModelDied as error:
        raise DetectorDied(str(error)) from error

    async def tell() -> None:
        await await_bus(bench.bus)
        await publish(bench.bus, completed, f"detection:{lease.job.id}:{lease.fence}")
        semconv.DETECTION_AUDIO_SECONDS.inc(completed.audio_duration_ms / 1000)

    return tell


async def _detected(lease: Lease, bench: Workbench) -> DetectionCompleted:
    task = lease.job.detection
    check_room(bench.scratch, BYTES_PER_MS * lease.job.audio_duration_ms, "this audio")
    lease.engine, lease.model = bench.engine.name, task.model_id
    await lease.report()
    url = await media_url(bench.storage, lease.job.media_id)
    limit_ms = decode_limit_ms(lease.job.audio_duration_ms, bench.max_duration_ms)

    def decoded(done_ms: int) -> None:
        lease.advance(_PROGRESS_AFTER_DECODE * min(1.0, done_ms / (lease.job.audio_duration_ms or limit_ms)))

    async with bench.detectors.held(task.model_id, task.detector_artefact_id) as detector:
        async with open_audio(bench.client, url, bench.sandbox, bench.scratch, limit_ms, decoded) as audio:
            found = await _found(lease, bench, detector, audio)
            parts = await _put(lease, found)
            return _completed(lease, bench, audio, parts)


async def _found(lease: Lease, bench: Workbench, detector: StoredDetector, audio: Audio) -> Sequence[Found]:
    def scored(share: float) -> None:
        lease.advance(_PROGRESS_AFTER_DECODE + share * (_PROGRESS_AFTER_SCORES - _PROGRESS_AFTER_DECODE))

    scores = await score(bench.engine, detector, audio.samples, scored)
    return await asyncio.to_thread(_read, scores.scores, scores.artifact_types, lease.job.detection.config, audio.duration_ms)


def _read(scores: Floats, artifact_types: Sequence[str], config: InferenceConfig, duration_ms: int) -> Sequence[Found]:
    threshold = config.threshold if config.HasField("threshold") else USUAL_THRESHOLD
    return detections_of(scores, artifact_types, threshold, config.merge_window_ms, config.min_duration_ms, duration_ms)


async def _put(lease: Lease, found: Sequence[Found]) -> int:
    """Store what was found, in parts; returns how many."""
    count = 0
    for part in parts_of(found):
        await lease.put_window(count, part, _PROGRESS_AFTER_SCORES)
        count += 1
    return count


def parts_of(found: Sequence[Found], most_bytes: int = MOST_PART_BYTES) -> Iterator[Detections]:
    """Messages of at most so many bytes, one detection at least in each."""
    part, size = Detections(), 0
    for one in found:
        detection = Detection(
            artifact_type=one.artifact_type, start_offset_ms=one.start_ms, end_offset_ms=one.end_ms, confidence=one.confidence
        )
        needed = detection.ByteSize() + _FRAME_BYTES
        if part.detections and size + needed > most_bytes:
            yield part
            part, size = Detections(), 0
        part.detections.append(detection)
        size += needed
    if part.detections:
        yield part


def _completed(lease: Lease, bench: Workbench, audio: Audio, parts: int) -> DetectionCompleted:
    return DetectionCompleted(
        job_id=lease.job.id,
        workspace_id=lease.job.workspace_id,
        fence=lease.fence,
        audio_duration_ms=audio.duration_ms,
        truncated=audio.truncated,
        part_count=parts,
        engine=bench.engine.name,
    )
