"""Windows come in turn and with their priority, are corrected by their neighbours' language, and a strict order takes no gap."""

import asyncio
from dataclasses import replace

import pytest

from services.inference.audio import Audio
from services.inference.domain import EngineUnavailable, TranscriptIncomplete
from services.inference.engines.engine import WindowFailed, WindowParameters
from services.inference.hearing import MOST_WAITING, Hearing
from services.inference.pcm import duration_ms
from services.inference.scheduling import Party, Priority, WindowScheduler
from services.inference.transcript import Verdict, WindowResult
from services.inference.windows import Window
from services.mesh.telemetry import get_logger
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from tests.inference.conftest import decode
from tests.inference.stage import HELLO, House, until
from tests.inference.troubled import TroubledEngine

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENGLISH = {"en": 0.95, "de": 0.02}
MAYBE_GERMAN = {"de": 0.5, "en": 0.4}
SECOND = 1000


@pytest.fixture
def engine(house: House) -> TroubledEngine:
    """The real engine, in no trouble yet."""
    return TroubledEngine(house.engine)


class Kept:
    """What a hearing reported."""

    def __init__(self) -> None:
        self.windows: list[tuple[int, str]] = []
        self.shares: list[float] = []

    async def keep(self, index: int, window: WindowTranscript, share: float) -> None:
        """Notes a result."""
        self.windows.append((index, window.language))
        self.shares.append(share)


def hearing_of(
    engine: TroubledEngine,
    kept: Kept,
    *,
    scheduler: WindowScheduler | None = None,
    language: str | None = None,
    strict: bool = False,
    job_id: str = "job",
) -> Hearing:
    pcm = decode(HELLO)
    return Hearing(
        engine=engine,
        scheduler=scheduler or WindowScheduler(lambda: engine.windows_in_flight),
        party=Party("workspace", job_id),
        audio=Audio(pcm, duration_ms(pcm), truncated=False),
        parameters=WindowParameters(language=language),
        strict=strict,
        keep=kept.keep,
        advance=kept.shares.append,
        logger=get_logger("test"),
    )


def windows_of(count: int, seconds: int = 1) -> list[Window]:
    """Windows over the first seconds of the clip, and past its end over nothing."""
    return [Window(n, n * seconds * SECOND, (n + 1) * seconds * SECOND) for n in range(count)]


def in_languages(engine: TroubledEngine, *probabilities: dict[str, float]) -> None:
    """Has the windows, as they come, sound like these languages; one that is asked for is what is decoded."""
    heard = iter(probabilities)

    def colour(result: WindowResult, parameters: WindowParameters) -> WindowResult:
        if parameters.language:
            return replace(result, language=parameters.language, verdict=Verdict.ACCEPTED)
        found = next(heard)
        return replace(result, language=max(found, key=lambda code: found[code]), language_probabilities=found, verdict=Verdict.ACCEPTED)

    engine.colour = colour


async def test_window_in_the_wrong_language_is_heard_again_in_the_right_one(engine: TroubledEngine) -> None:
    in_languages(engine, ENGLISH, MAYBE_GERMAN, ENGLISH)
    kept = Kept()
    one_by_one = WindowScheduler(lambda: 1)
    heard = await hearing_of(engine, kept, scheduler=one_by_one).hear(windows_of(3), {})
    assert [parameters.language for parameters in engine.asked] == [None, None, None, "en"]
    assert kept.windows == [(0, "en"), (1, "de"), (2, "en"), (1, "en")]
    assert [window.language for window in heard] == ["en", "en", "en"]
    assert dict(heard[1].language_probabilities) == MAYBE_GERMAN
    assert kept.shares[-2:] == [1.0, 1.0]


async def test_no_window_is_corrected_to_a_language_that_the_engine_lacks(engine: TroubledEngine) -> None:
    in_languages(engine, {"fr": 0.95, "en": 0.02}, {"en": 0.5, "fr": 0.4}, {"fr": 0.95, "en": 0.02})
    await hearing_of(engine, Kept(), scheduler=WindowScheduler(lambda: 1)).hear(windows_of(3), {})
    assert [parameters.language for parameters in engine.asked] == [None, None, None]


async def test_window_that_was_corrected_is_not_heard_again_by_the_next_attempt(engine: TroubledEngine) -> None:
    in_languages(engine, ENGLISH, MAYBE_GERMAN, ENGLISH)
    windows = windows_of(3)
    heard = await hearing_of(engine, Kept(), scheduler=WindowScheduler(lambda: 1)).hear(windows, {})
    engine.windows_heard = 0
    again = await hearing_of(engine, Kept()).hear(windows, dict(enumerate(heard)))
    assert engine.windows_heard == 0
    assert again == heard


@pytest.mark.parametrize("second", ["failed", "doubtful"])
async def test_second_hearing_that_is_worse_changes_nothing(engine: TroubledEngine, second: str) -> None:
    in_languages(engine, ENGLISH, MAYBE_GERMAN, ENGLISH)
    first = engine.colour

    def worse(result: WindowResult, parameters: WindowParameters) -> WindowResult:
        if parameters.language and second == "failed":
            raise WindowFailed("broken")
        found = first(result, parameters)
        return replace(found, verdict=Verdict.DOUBTFUL) if parameters.language else found

    engine.colour = worse
    kept = Kept()
    heard = await hearing_of(engine, kept, scheduler=WindowScheduler(lambda: 1)).hear(windows_of(3), {})
    assert len(engine.asked) == 4
    assert [window.language for window in heard] == ["en", "de", "en"]
    assert not any(window.gap_reason for window in heard)
    assert len(kept.windows) == 3


async def test_language_that_was_asked_for_is_not_doubted(engine: TroubledEngine) -> None:
    await hearing_of(engine, Kept(), language="en").hear(windows_of(3), {})
    assert [parameters.language for parameters in engine.asked] == ["en"] * 3


async def test_no_more_windows_of_ten_hours_are_cut_than_there_are_turns(engine: TroubledEngine) -> None:
    windows = windows_of(1_200, seconds=30)
    engine.hanging = set(range(len(windows)))
    scheduler = WindowScheduler(lambda: 3)
    before = set(asyncio.all_tasks())
    task = asyncio.create_task(hearing_of(engine, Kept(), scheduler=scheduler).hear(windows, {}))
    await until(lambda: engine.windows_heard == 3, "three windows at the engine")
    assert scheduler.taken == 3
    assert len(asyncio.all_tasks() - before) <= MOST_WAITING + 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (engine.windows_heard, scheduler.taken) == (3, 0)


async def test_short_job_ends_while_ten_hours_wait(engine: TroubledEngine) -> None:
    scheduler = WindowScheduler(lambda: 2)
    long, short = Kept(), Kept()
    windows = windows_of(1_200, seconds=30)
    # Past the end of the clip there is nothing to hear, so that a window of either job takes as long.
    few = windows[-3:]
    task = asyncio.create_task(hearing_of(engine, long, scheduler=scheduler, job_id="long").hear(windows, {}))
    await until(lambda: len(long.windows) > 20, "the long job to be past its first minutes")
    before = len(engine.asked)
    await hearing_of(engine, short, scheduler=scheduler, job_id="short").hear(few, {})
    between = len(engine.asked) - before
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(index for index, _ in short.windows) == [window.index for window in few]
    assert len(long.windows) < len(windows)
    assert between <= 8


async def test_priority_falls_with_the_speech_before_a_window(engine: TroubledEngine) -> None:
    await hearing_of(engine, Kept(), scheduler=WindowScheduler(lambda: 1)).hear(windows_of(24, seconds=30), {})
    assert [parameters.priority for parameters in engine.asked] == [Priority.SOON] * 2 + [Priority.NORMAL] * 18 + [Priority.LATE] * 4


@pytest.mark.parametrize("reason", ["WINDOW_FAILED", "REPETITIVE_TEXT"])
async def test_strict_order_takes_no_gap(engine: TroubledEngine, reason: str) -> None:
    def colour(result: WindowResult, parameters: WindowParameters) -> WindowResult:
        if len(engine.asked) != 2:
            return result
        if reason == "WINDOW_FAILED":
            raise WindowFailed("broken")
        return replace(result, verdict=Verdict.REPETITIVE)

    engine.colour = colour
    one_by_one = WindowScheduler(lambda: 1)
    with pytest.raises(TranscriptIncomplete):
        await hearing_of(engine, Kept(), scheduler=one_by_one, strict=True).hear(windows_of(3), {})
    engine.asked.clear()
    heard = await hearing_of(engine, Kept(), scheduler=one_by_one).hear(windows_of(3), {})
    assert [window.gap_reason for window in heard] == ["", reason, ""]


async def test_strict_order_waits_when_the_gap_is_the_engines_fault(engine: TroubledEngine) -> None:
    def die(number: int) -> Exception:
        engine.dead = True
        return WindowFailed("broken")

    engine.trouble = die
    with pytest.raises(EngineUnavailable):
        await hearing_of(engine, Kept(), strict=True).hear(windows_of(2), {})
