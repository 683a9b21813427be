"""A claimed job ends in a result, a failure, or back in the queue; its work is neither lost nor done twice."""

import asyncio
import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.inference.domain import SPEECHLESS_SUGGESTION
from services.inference.engines.engine import EngineFailed, WindowFailed
from services.mesh.status import RemoteError
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.job_pb2 import Job
from tests.inference.stage import HELLO, SILENCE, TWO_VOICES, Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def open_scratch(stage: Stage) -> list[str]:
    """Descriptors and mappings of this process that still hold scratch files."""
    scratch = str(stage.bench.scratch)
    held = [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.exists() or link.is_symlink()]  # noqa: PTH115 (text)
    mapped = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in [*held, *mapped] if scratch in line]


def tasks_besides(before: set["asyncio.Task[object]"]) -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks() - before if not task.done()}


async def test_job_becomes_a_stored_transcript_and_one_event(stage: Stage) -> None:
    job = stage.job(HELLO, audio_duration_ms=3775, word_timestamps=True, diarize=True)
    await stage.run(job)
    event = await stage.completed(job)
    transcript = stage.storage.transcript(event.transcript_artefact_id)
    assert "calling" in transcript.text.lower()
    assert transcript.job_id == job.id
    assert transcript.speakers == ["SPEAKER_00"]
    assert event.billable_ms == event.audio_duration_ms == transcript.audio_duration_ms == 3775
    assert (event.fence, event.speech_detected, event.truncated, event.language) == (1, True, False, transcript.language)
    assert stage.published(job) == [f"transcript:{job.id}:1"]
    assert stage.work.workers == ["test-worker"]
    assert stage.work.released == []
    assert stage.storage.artefacts == {event.transcript_artefact_id: True}
    assert stage.work.reports[-1].transcript_artefact_id == event.transcript_artefact_id, "jobs cannot remove what it was not told of"


async def test_speech_is_reported_before_the_first_window(stage: Stage) -> None:
    stage.engine.hanging = {0, 1, 2, 3}
    work = stage.start(stage.job(HELLO))
    await stage.engine.at_work.wait()
    told = stage.work.reports[-1]
    assert told.HasField("speech_detected")
    assert told.speech_detected
    assert told.speech_ratio > 0.5
    assert (told.engine, told.model) == (stage.engine.name, stage.engine.model)
    stage.stopping.set()
    await work


async def test_speechless_audio_costs_nothing(stage: Stage) -> None:
    job = stage.job(SILENCE)
    await stage.run(job)
    event = await stage.completed(job)
    assert (event.speech_detected, event.billable_ms) == (False, 0)
    assert event.audio_duration_ms > 0
    assert stage.storage.transcript(event.transcript_artefact_id).suggestion == SPEECHLESS_SUGGESTION
    assert stage.engine.windows_heard == 0


async def test_truncated_media_is_charged_for_what_was_decoded(stage: Stage) -> None:
    whole = HELLO.read_bytes()
    job = stage.job(whole[: len(whole) * 2 // 3], audio_duration_ms=3775)
    await stage.run(job)
    event = await stage.completed(job)
    assert event.truncated
    assert 1500 < event.billable_ms == event.audio_duration_ms < 3500
    assert stage.storage.transcript(event.transcript_artefact_id).truncated


@pytest.mark.parametrize("where", ["row", "bytes"])
async def test_media_that_is_gone_fails_for_good(stage: Stage, where: str) -> None:
    job = stage.job(HELLO)
    if where == "row":
        stage.storage.plane.bodies.clear()
    else:
        stage.storage.plane.status = 404
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable, event.fence) == ("MEDIA_UNPROCESSABLE", False, 1)


async def test_garbage_fails_for_good(stage: Stage) -> None:
    job = stage.job(b"no audio at all" * 100)
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("MEDIA_UNPROCESSABLE", False)
    assert event.message


@pytest.mark.parametrize("status", [403, 500, 503])
async def test_refused_download_gives_the_job_back_later_each_time(stage: Stage, status: int) -> None:
    stage.storage.plane.status = status
    job = stage.job(HELLO)
    for _ in range(3):
        await stage.run(job)
    delays = [release.delay.ToTimedelta().total_seconds() for release in stage.work.released]
    assert len(delays) == 3
    assert 0 < delays[0] < delays[1] < delays[2]
    assert stage.published(job) == []


async def test_audio_too_long_for_the_scratch_disk_is_not_fetched(stage: Stage) -> None:
    job = stage.job(HELLO, audio_duration_ms=1 << 50)
    await stage.run(job)
    assert len(stage.work.released) == 1
    assert stage.work.released[0].delay.ToTimedelta().total_seconds() > 0
    assert stage.work.reports == []
    assert stage.published(job) == []


async def test_unknown_language_fails_for_good(stage: Stage) -> None:
    job = stage.job(HELLO, language="fr")
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("LANGUAGE_NOT_SUPPORTED", False)
    assert "en" in event.message


async def test_engine_that_fails_on_every_window_fails_the_job(stage: Stage) -> None:
    stage.engine.trouble = lambda number: WindowFailed("broken")
    job = stage.job(HELLO)
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("TRANSCRIPTION_FAILED", False)


async def test_strict_job_with_a_gap_fails_for_good(stage: Stage) -> None:
    stage.engine.trouble = lambda number: WindowFailed("broken") if number == 1 else None
    job = stage.job(TWO_VOICES, strict=True)
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("TRANSCRIPT_INCOMPLETE", False)
    assert event.message


async def test_engine_that_dies_under_the_job_gives_it_back(stage: Stage) -> None:
    def die(number: int) -> Exception:
        stage.engine.dead = True
        return WindowFailed("broken")

    stage.engine.trouble = die
    job = stage.job(HELLO)
    await stage.run(job)
    assert len(stage.work.released) == 1
    assert stage.published(job) == []


async def test_engine_failure_gives_the_job_back(stage: Stage) -> None:
    stage.engine.dead = True
    job = stage.job(HELLO)
    await stage.run(job)
    assert stage.work.released[0].delay.ToTimedelta().total_seconds() > 0
    assert stage.published(job) == []


async def test_audio_that_kills_a_working_engine_is_retried_as_a_counted_attempt(stage: Stage) -> None:
    stage.engine.trouble = lambda number: EngineFailed("3 processes lost")
    job = stage.job(HELLO)
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("TRANSCRIPTION_FAILED", True)
    assert "processes" not in event.message
    assert stage.work.released == []


async def test_fault_of_ours_is_retried_as_a_counted_attempt(stage: Stage) -> None:
    stage.engine.trouble = lambda number: ZeroDivisionError("a bug")
    job = stage.job(HELLO)
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("INTERNAL", True)
    assert "a bug" not in event.message


async def test_stale_fence_stops_the_work_and_publishes_nothing(stage: Stage) -> None:
    stage.work.lease_seconds = 0.6
    stage.engine.hanging = {0, 1, 2, 3}
    job = stage.job(TWO_VOICES)
    work = stage.start(job)
    await stage.engine.at_work.wait()
    stage.work.take_over(job.id)
    await work
    assert stage.published(job) == []
    assert stage.work.released == []
    assert stage.storage.artefacts == {}


async def test_window_under_a_stale_fence_ends_the_other_windows(stage: Stage) -> None:
    stage.engine.hanging = {1, 2, 3}
    job = stage.job(TWO_VOICES)

    def overtaken(number: int) -> None:
        stage.work.take_over(job.id)

    stage.engine.trouble = overtaken
    await stage.run(job)
    assert stage.work.put == []
    assert stage.published(job) == []


async def test_stopping_gives_the_job_back_before_its_window_ends_and_frees_everything(stage: Stage) -> None:
    before = asyncio.all_tasks()
    gc.collect()
    gc.disable()
    try:
        stage.engine.max_window_seconds = 10.0
        work = stage.start(stage.job(TWO_VOICES))
        await stage.engine.at_work.wait()
        assert open_scratch(stage)
        stage.stopping.set()
        await work
        assert open_scratch(stage) == []
    finally:
        gc.enable()
    assert len(stage.work.released) == 1
    assert not stage.work.released[0].HasField("delay") or stage.work.released[0].delay.ToTimedelta().total_seconds() == 0
    await until(lambda: not tasks_besides(before), "the tasks to end")
    await stage.house.engine.check()
    assert not stage.house.engine._pool.busy
    assert list(stage.bench.scratch.iterdir()) == []


async def test_cancelled_handler_leaves_nothing_running(stage: Stage) -> None:
    before = asyncio.all_tasks()
    stage.engine.hanging = {0, 1, 2, 3}
    work = stage.start(stage.job(TWO_VOICES))
    await stage.engine.at_work.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    await until(lambda: not tasks_besides(before), "the tasks to end")
    assert open_scratch(stage) == []


async def test_finished_job_leaves_no_scratch(stage: Stage) -> None:
    gc.collect()
    gc.disable()
    try:
        for trouble in (WindowFailed("broken"), EngineFailed("gone"), ZeroDivisionError("bug")):
            stage.engine.trouble = lambda number, trouble=trouble: trouble  # type: ignore[misc]
            await stage.run(stage.job(HELLO))
            assert open_scratch(stage) == []
            trouble.__traceback__ = None
    finally:
        gc.enable()


async def test_job_that_nobody_can_claim_spends_the_message(stage: Stage) -> None:
    job = stage.job(HELLO)
    stage.work.held.add(job.id)
    await stage.run(job)
    stage.work.held.clear()
    stage.work.ended.add(job.id)
    await stage.run(job)
    del stage.work.jobs[job.id]
    await stage.run(job)
    assert stage.published(job) == []
    assert stage.work.reports == []


async def test_claim_without_an_answer_is_an_error(stage: Stage) -> None:
    stage.work.away["ClaimWork"] = 1
    with pytest.raises(RemoteError):
        await stage.run(stage.job(HELLO))


@asynccontextmanager
async def stored_without_bus(stage: Stage, job: Job) -> AsyncIterator["asyncio.Task[None]"]:
    """The work on a job whose transcript is stored while the bus is away; the bus is back after the block."""

    def lose_the_bus(number: int) -> None:
        stage.house.nats.kill()

    stage.engine.trouble = lose_the_bus
    work = stage.start(job)
    try:
        await until(lambda: any(stage.storage.artefacts.values()), "the transcript to be stored")
        yield work
    finally:
        await stage.house.nats.start()


async def test_broker_restart_between_transcript_and_event_delays_the_event_only(stage: Stage) -> None:
    job = stage.job(HELLO)
    async with stored_without_bus(stage, job) as work:
        assert not work.done()
    await work
    event = await stage.completed(job)
    assert stage.storage.artefacts == {event.transcript_artefact_id: True}
    assert stage.engine.windows_heard == len(stage.work.put)
    assert stage.work.released == []


async def test_transcript_that_nobody_was_told_of_is_deleted(stage: Stage) -> None:
    job = stage.job(HELLO)
    async with stored_without_bus(stage, job) as work:
        stage.stopping.set()
        await work
    assert stage.storage.artefacts == {}
    assert len(stage.work.released) == 1
    assert stage.published(job) == []


async def test_jobs_and_storage_away_for_a_moment_cost_no_work(stage: Stage) -> None:
    stage.work.away = {"PutWindow": 6, "ExtendLease": 2}
    stage.storage.away = 6
    job = stage.job(HELLO)
    await stage.run(job)
    event = await stage.completed(job)
    assert stage.work.refused == 8
    assert stage.engine.windows_heard == len(stage.work.put)
    assert stage.storage.artefacts == {event.transcript_artefact_id: True}
    assert event.fence == 1


async def test_finished_windows_are_not_repeated_by_the_next_claim(stage: Stage) -> None:
    stage.engine.hanging = {1, 2, 3}
    job = stage.job(TWO_VOICES)
    work = stage.start(job)
    await until(lambda: stage.work.put, "the first window to be stored")
    stage.stopping.set()
    await work
    assert [put.index for put in stage.work.put] == [0]
    stage.stopping.clear()
    stage.engine.hanging, stage.engine.windows_heard = set(), 0
    await stage.run(job)
    event = await stage.completed(job)
    places = [put.index for put in stage.work.put]
    assert sorted(places) == list(range(len(places)))
    assert stage.engine.windows_heard == len(places) - 1 > 0
    assert event.fence == 2
    assert "afternoon" in stage.storage.transcript(event.transcript_artefact_id).text.lower()


async def test_windows_of_another_engine_and_unreadable_ones_are_repeated(stage: Stage) -> None:
    job = stage.job(HELLO)
    stage.work.windows[job.id, 0] = b"\xff\xff"
    stage.work.windows[job.id, 1] = WindowTranscript(engine="other", model="large").SerializeToString()
    await stage.run(job)
    await stage.completed(job)
    assert stage.engine.windows_heard == len(stage.work.put)
