"""A file ends in what a detector finds in it, or alone in a failure."""

import asyncio
import itertools
from pathlib import Path

import pytest

from services.detection.detections import Detection as Found
from services.inference.engines.engine import EngineFailed
from services.inference.usecases.detection import MOST_PART_BYTES, parts_of
from steno.inference.v1.checkpoints_pb2 import Detections
from steno.inference.v1.inference_events_pb2 import DetectionCompleted
from steno.jobs.v1.detector_pb2 import Detection, InferenceConfig
from steno.jobs.v1.job_pb2 import Job
from tests.inference.detection_data import LOUD, QUIET, detector, noise, wav
from tests.inference.stage import Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")
LOUD_MS = [(2_000, 2_500), (2_600, 3_000), (7_000, 7_400), (8_500, 8_540)]
USUAL = InferenceConfig(threshold=0.5, merge_window_ms=0, min_duration_ms=50)


def order(stage: Stage, media: bytes, config: InferenceConfig = USUAL, onnx: bytes | None = None) -> Job:
    """The detector, or what is to pass for it, over the file."""
    artefact_id = stage.storage.add_artefact(detector() if onnx is None else onnx)
    return stage.work.add_detection(stage.storage.add_media(media), artefact_id, config)


def found(stage: Stage, job: Job) -> list[Detection]:
    windows = stage.work.windows_of(job)
    return [one for index in sorted(windows) for one in Detections.FromString(windows[index]).detections]


def spans(detections: list[Detection]) -> list[tuple[str, int, int]]:
    """Times to the nearest tenth of a second: a frame that is loud in part may count or not."""
    return [(one.artifact_type, round(one.start_offset_ms, -2), round(one.end_offset_ms, -2)) for one in detections]


async def completed(stage: Stage, job: Job) -> DetectionCompleted:
    return await stage.told_of(job, DetectionCompleted)


async def test_file_becomes_its_detections_and_one_event(stage: Stage) -> None:
    job = order(stage, wav(noise(10, LOUD_MS)))
    await stage.run(job)
    event = await completed(stage, job)
    assert stage.published(job) == [f"detection:{job.id}:1"]
    assert (event.workspace_id, event.fence, event.audio_duration_ms, event.truncated) == (job.workspace_id, 1, 10_000, False)
    assert (event.part_count, event.engine) == (1, "local")
    assert spans(found(stage, job)) == [(LOUD, 2_000, 2_500), (LOUD, 2_600, 3_000), (LOUD, 7_000, 7_400)]
    assert all(one.confidence > 0.5 for one in found(stage, job))
    told = stage.work.reports[-1]
    assert (told.engine, told.model) == ("local", job.detection.model_id)


async def test_threshold_merge_window_and_least_duration_are_heeded(stage: Stage) -> None:
    merged = order(stage, wav(noise(10, LOUD_MS)), InferenceConfig(threshold=0.5, merge_window_ms=200, min_duration_ms=0))
    await stage.run(merged)
    await completed(stage, merged)
    assert spans(found(stage, merged))[:2] == [(LOUD, 2_000, 3_000), (LOUD, 7_000, 7_400)]
    assert len(found(stage, merged)) == 3, "the short one too"
    none = order(stage, wav(noise(10, LOUD_MS)), InferenceConfig(threshold=1.0, merge_window_ms=0, min_duration_ms=50))
    await stage.run(none)
    event = await completed(stage, none)
    assert (event.part_count, found(stage, none)) == (0, [])


async def test_types_may_be_found_side_by_side(stage: Stage) -> None:
    pcm = noise(10, LOUD_MS)
    pcm[16_000 * 5 : 16_000 * 6] = 0
    job = order(stage, wav(pcm))
    await stage.run(job)
    await completed(stage, job)
    assert (QUIET, 5_000, 6_000) in spans(found(stage, job))


async def test_file_that_is_no_audio_fails_alone(stage: Stage) -> None:
    bad, good = order(stage, b"no audio at all" * 100), order(stage, wav(noise(10, LOUD_MS)))
    await asyncio.gather(stage.run(bad), stage.run(good))
    event = await stage.failed(bad)
    assert (event.reason, event.retryable) == ("MEDIA_UNPROCESSABLE", False)
    await completed(stage, good)
    assert len(found(stage, good)) == 3


async def test_file_that_breaks_off_is_read_as_far_as_it_goes(stage: Stage) -> None:
    job = order(stage, (Path(__file__).parents[2] / "samples" / "clips" / "hello.flac").read_bytes()[:40_000])
    await stage.run(job)
    event = await completed(stage, job)
    assert event.truncated
    assert event.audio_duration_ms > 500


async def test_detector_that_does_not_load_fails_the_attempt(stage: Stage) -> None:
    job = order(stage, wav(noise(1)), onnx=b"no graph")
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("DETECTION_FAILED", True)


@pytest.mark.parametrize("where", ["row", "bytes"])
async def test_detector_that_is_gone_fails_the_file_for_good(stage: Stage, where: str) -> None:
    job = order(stage, wav(noise(1)))
    if where == "row":
        stage.storage.artefacts.clear()
    else:
        del stage.storage.plane.bodies[f"/artefacts/{job.detection.detector_artefact_id}"]
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("DETECTION_FAILED", False)


async def test_engine_that_does_not_answer_gives_the_file_back(stage: Stage) -> None:
    stage.engine.dead = True
    job = order(stage, wav(noise(1)))
    await stage.run(job)
    assert len(stage.work.released) == 1
    assert stage.work.released[0].delay.ToTimedelta().total_seconds() > 0
    assert stage.published(job) == []


async def test_audio_too_long_for_the_scratch_disk_is_not_fetched(stage: Stage) -> None:
    job = order(stage, wav(noise(1)))
    job.audio_duration_ms = 1 << 50
    await stage.run(job)
    assert len(stage.work.released) == 1
    assert stage.work.reports == []


async def test_stale_fence_ends_the_work_without_an_event(stage: Stage) -> None:
    job = order(stage, wav(noise(10, LOUD_MS)))

    def overtaken(number: int) -> None:
        stage.work.take_over(job.id)

    stage.engine.detection_trouble = overtaken
    await stage.run(job)
    assert stage.work.put == []
    assert stage.published(job) == []
    assert stage.work.released == []


async def test_stopping_gives_the_file_back(stage: Stage) -> None:
    stage.engine.hanging = {0}
    work = stage.start(order(stage, wav(noise(10, LOUD_MS))))
    await stage.engine.at_work.wait()
    stage.stopping.set()
    await work
    assert len(stage.work.released) == 1
    assert not any(stage.bench.scratch.glob("tmp*"))


async def test_failure_of_a_working_engine_is_a_counted_attempt(stage: Stage) -> None:
    stage.engine.detection_trouble = lambda number: EngineFailed("3 processes lost")
    job = order(stage, wav(noise(1)))
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("DETECTION_FAILED", True)
    assert "processes" not in event.message


async def test_detector_is_fetched_once_and_those_unused_for_longest_go(stage: Stage) -> None:
    artefacts = [stage.storage.add_artefact(detector()) for _ in range(3)]
    media_id = stage.storage.add_media(wav(noise(1, [(0, 500)])))
    for artefact_id in [*artefacts[:2], artefacts[0], artefacts[2]]:
        job = stage.work.add_detection(media_id, artefact_id, USUAL)
        await stage.run(job)
        await completed(stage, job)
        stage.storage.plane.bodies.pop(f"/artefacts/{artefact_id}", None)
    kept = {path.stem for path in (stage.bench.scratch / "detectors").iterdir()}
    assert kept == {artefacts[0], artefacts[2]}


async def test_files_at_once_share_one_fetch_of_their_detector(stage: Stage) -> None:
    artefact_id = stage.storage.add_artefact(detector())
    media_id = stage.storage.add_media(wav(noise(2, [(500, 1_000)])))
    jobs = [stage.work.add_detection(media_id, artefact_id, USUAL) for _ in range(4)]
    await asyncio.gather(*map(stage.run, jobs))
    await until(lambda: all(stage.published(job) for job in jobs), "all to end")
    assert [len(found(stage, job)) for job in jobs] == [1, 1, 1, 1]
    assert stage.storage.plane.gets.count(f"/artefacts/{artefact_id}") == 1


async def test_parts_hold_everything_in_order_and_none_is_too_long() -> None:
    many = [Found(f"type-{number % 7}", number * 20, number * 20 + 40, 0.75) for number in range(60_000)]
    parts = list(parts_of(many))
    assert len(parts) > 1
    assert max(part.ByteSize() for part in parts) <= MOST_PART_BYTES
    starts = [one.start_offset_ms for one in itertools.chain.from_iterable(part.detections for part in parts)]
    assert starts == [one.start_ms for one in many]
    assert list(parts_of([])) == []
    assert [len(part.detections) for part in parts_of(many[:3], most_bytes=1)] == [1, 1, 1], "one at least in each"
