"""The stages in order: nothing is heard twice, a lost window is a gap, and progress only grows."""

import asyncio
from dataclasses import dataclass, field

import pytest

from services.inference.assembly import to_window_transcript
from services.inference.audio import Audio
from services.inference.diarization.clustering import SpeakerCount
from services.inference.domain import EngineUnavailable, TranscriptionFailed
from services.inference.engines.engine import EngineFailed, WindowFailed
from services.inference.engines.local import LocalEngine
from services.inference.pcm import duration_ms
from services.inference.pipeline import Order, Pipeline, Reports, SpeechFloor, speaker_count
from services.inference.scheduling import Party, WindowScheduler
from services.inference.transcript import WindowResult
from services.inference.windows import Region, Window
from services.mesh.telemetry import get_logger
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.job_pb2 import TranscriptionConfig
from steno.jobs.v1.transcript_pb2 import Transcript
from tests.inference.conftest import decode
from tests.inference.stage import SILENCE, TWO_VOICES, House
from tests.inference.troubled import TroubledEngine

on_house = pytest.mark.asyncio(loop_scope="session")
ORDER = Order(TranscriptionConfig(), Party("workspace", "job"))
FAULTS = [{"engine": "other"}, {"model": "other"}, {"end_offset_ms": 1}, {"gap_reason": "WINDOW_FAILED"}]


@dataclass
class Told:
    """What a pipeline reported, in order."""

    progress: list[float] = field(default_factory=list)
    speech: list[tuple[bool, float]] = field(default_factory=list)
    windows: dict[int, WindowTranscript] = field(default_factory=dict)

    def reports(self) -> Reports:
        """Reports that end here."""
        return Reports(speech=self._hear_speech, window=self._hear_window, progress=self.progress.append)

    async def _hear_speech(self, detected: bool, ratio: float) -> None:
        self.speech.append((detected, ratio))

    async def _hear_window(self, index: int, window: WindowTranscript, progress: float) -> None:
        self.windows[index] = window
        self.progress.append(progress)


def audio_of(name: str) -> Audio:
    pcm = decode(SILENCE.parent / name)
    return Audio(pcm, duration_ms(pcm), truncated=False)


def pipeline_on(engine: TroubledEngine | LocalEngine, floor: SpeechFloor | None = None) -> Pipeline:
    scheduler = WindowScheduler(lambda: engine.windows_in_flight)
    return Pipeline(engine, floor or SpeechFloor(0.05, 0.5), scheduler, get_logger("test"))


async def run(engine: TroubledEngine, finished: dict[int, WindowTranscript], told: Told, **config: object) -> Transcript:
    order = Order(TranscriptionConfig(**{"diarize": False} | config), Party("workspace", "job"))  # type: ignore[arg-type]
    return await pipeline_on(engine).transcribe(audio_of(TWO_VOICES.name), order, finished, told.reports())


@pytest.fixture(scope="session")
def finished() -> dict[int, WindowTranscript]:
    """The windows of two voices, heard once by the first test that needs them."""
    return {}


@pytest.fixture
def engine(house: House) -> TroubledEngine:
    """The real engine, in no trouble yet."""
    return TroubledEngine(house.engine)


async def heard(engine: TroubledEngine, finished: dict[int, WindowTranscript]) -> dict[int, WindowTranscript]:
    if not finished:
        told = Told()
        await run(engine, {}, told)
        finished.update(told.windows)
        assert engine.windows_heard == len(finished) > 2
        engine.windows_heard = 0
    return {index: WindowTranscript.FromString(window.SerializeToString()) for index, window in finished.items()}


@on_house
async def test_finished_windows_are_not_repeated(engine: TroubledEngine, finished: dict[int, WindowTranscript]) -> None:
    known, told = await heard(engine, finished), Told()
    transcript = await run(engine, known, told, diarize=True, word_timestamps=True)
    assert engine.windows_heard == 0
    assert told.windows == {}
    assert transcript.speakers == ["SPEAKER_00", "SPEAKER_01"]
    assert [word.text for segment in transcript.segments for word in segment.words]
    assert told.speech == [(True, transcript.speech_ratio)]


@on_house
async def test_only_missing_windows_are_heard_and_give_the_same_words(
    engine: TroubledEngine, finished: dict[int, WindowTranscript]
) -> None:
    known, told = await heard(engine, finished), Told()
    del known[1]
    await run(engine, known, told)
    assert engine.windows_heard == 1
    assert told.windows == {1: finished[1]}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@on_house
async def test_window_of_another_plan_or_model_is_repeated(
    engine: TroubledEngine, finished: dict[int, WindowTranscript], fault: dict[str, object]
) -> None:
    known, told = await heard(engine, finished), Told()
    for name, value in fault.items():
        setattr(known[1], name, value)
    engine.trouble = lambda number: WindowFailed("enough to see that it was asked")
    transcript = await run(engine, known, told)
    assert engine.windows_heard == 1
    assert [gap.start_offset_ms for gap in transcript.gaps] == [finished[1].start_offset_ms]


@on_house
async def test_failed_window_is_a_gap_and_the_rest_is_kept(engine: TroubledEngine, finished: dict[int, WindowTranscript]) -> None:
    known, told = await heard(engine, finished), Told()
    del known[0]
    engine.trouble = lambda number: WindowFailed("broken")
    transcript = await run(engine, known, told)
    lost = finished[0]
    assert [(gap.start_offset_ms, gap.end_offset_ms, gap.reason) for gap in transcript.gaps] == [
        (lost.start_offset_ms, lost.end_offset_ms, "WINDOW_FAILED")
    ]
    assert "news" in transcript.text.lower()
    assert told.windows[0].gap_reason == "WINDOW_FAILED"


@on_house
async def test_progress_grows_through_cached_windows_to_almost_one(engine: TroubledEngine, finished: dict[int, WindowTranscript]) -> None:
    known, told = await heard(engine, finished), Told()
    await run(engine, known, told, diarize=True)
    assert told.progress == sorted(told.progress)
    assert len([value for value in told.progress if 0.05 < value <= 0.9]) >= len(known)
    assert 0.9 < told.progress[-1] < 1


@on_house
async def test_voices_do_not_wait_for_words(engine: TroubledEngine) -> None:
    engine.hanging, told = set(range(100)), Told()
    working = asyncio.create_task(run(engine, {}, told, diarize=True))
    await asyncio.wait_for(engine.embedded.wait(), 120)
    assert told.windows == {}
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


@on_house
async def test_all_windows_lost_fails_the_job_only_while_the_engine_lives(engine: TroubledEngine) -> None:
    engine.trouble = lambda number: WindowFailed("broken")
    with pytest.raises(TranscriptionFailed):
        await run(engine, {}, Told())

    def die(number: int) -> Exception:
        engine.dead = True
        return WindowFailed("broken")

    engine.trouble = die
    with pytest.raises(EngineUnavailable):
        await run(engine, {}, Told())


@on_house
async def test_engine_failure_outside_of_windows_is_not_swallowed(engine: TroubledEngine) -> None:
    engine.dead = True
    with pytest.raises(EngineFailed):
        await run(engine, {}, Told())


@pytest.mark.parametrize("floor", [SpeechFloor(0.05, 0.5), SpeechFloor(0.0, 0.0)])
@on_house
async def test_silence_is_no_speech_whatever_the_floor(engine: TroubledEngine, floor: SpeechFloor) -> None:
    told = Told()
    transcript = await pipeline_on(engine, floor).transcribe(audio_of(SILENCE.name), ORDER, {}, told.reports())
    assert not transcript.speech_detected
    assert transcript.suggestion
    assert told.speech == [(False, 0.0)]
    assert engine.windows_heard == 0


def test_floor_asks_for_both_share_and_length() -> None:
    floor = SpeechFloor(ratio=0.05, seconds=0.5)
    assert floor.reached([Region(0, 500)], 0.05)
    assert not floor.reached([Region(0, 499)], 0.9)
    assert not floor.reached([Region(0, 5000)], 0.049)
    assert not floor.reached([], 1.0)


def test_speaker_count_follows_the_caller() -> None:
    assert speaker_count(TranscriptionConfig(speaker_count=3, max_speaker_count=2)) == SpeakerCount.exactly(3)
    assert speaker_count(TranscriptionConfig(min_speaker_count=2, max_speaker_count=4)) == SpeakerCount(2, 4)
    assert speaker_count(TranscriptionConfig()) == SpeakerCount(1, SpeakerCount().maximum)


def test_checkpoint_of_a_lost_window_names_its_place(engine: TroubledEngine) -> None:
    lost = to_window_transcript(Window(3, 1000, 2000), engine, None)
    assert (lost.start_offset_ms, lost.end_offset_ms, lost.gap_reason) == (1000, 2000, "WINDOW_FAILED")
    assert not to_window_transcript(Window(3, 1000, 2000), engine, WindowResult("")).gap_reason
