"""What holds no words yields none: no sound that is made up becomes text, and speech beside it stays."""

import numpy as np
import pytest

from services.inference.audio import Audio
from services.inference.domain import TranscriptIncomplete
from services.inference.pcm import Pcm, duration_ms
from services.inference.pipeline import Order, Pipeline, SpeechFloor
from services.inference.scheduling import Party, WindowScheduler
from services.mesh.telemetry import get_logger
from steno.jobs.v1.job_pb2 import TranscriptionConfig
from steno.jobs.v1.transcript_pb2 import Transcript
from tests.inference.conftest import decode
from tests.inference.sounds import WORDLESS, again, looped
from tests.inference.stage import HELLO, House
from tests.inference.test_pipeline import Told

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def transcript_of(house: House, pcm: Pcm, *, strict: bool = False) -> Transcript:
    """By the pipeline as it ships, windows of all lengths included."""
    scheduler = WindowScheduler(lambda: house.engine.windows_in_flight)
    pipeline = Pipeline(house.engine, SpeechFloor(0.05, 0.5), scheduler, get_logger("test"))
    order = Order(TranscriptionConfig(word_timestamps=True, strict=strict), Party("workspace", "job"))
    return await pipeline.transcribe(Audio(pcm, duration_ms(pcm), truncated=False), order, {}, Told().reports())


@pytest.mark.parametrize("name", WORDLESS)
async def test_sound_without_words_is_no_speech(house: House, name: str) -> None:
    transcript = await transcript_of(house, WORDLESS[name]())
    assert (transcript.text, len(transcript.segments), transcript.speech_detected) == ("", 0, False)
    assert transcript.suggestion


async def test_loop_alone_is_no_speech_for_a_strict_order_too(house: House) -> None:
    transcript = await transcript_of(house, looped(600, 350, pause_ms=150, seconds=30), strict=True)
    assert (transcript.speech_detected, list(transcript.gaps)) == (False, [])


async def test_loop_beside_speech_is_refused_by_a_strict_order(house: House) -> None:
    pcm = np.concatenate([decode(HELLO), np.zeros(48_000, np.int16), looped(600, 350, pause_ms=150, seconds=30)])
    with pytest.raises(TranscriptIncomplete):
        await transcript_of(house, pcm, strict=True)


async def test_loop_beside_speech_is_a_gap_and_the_speech_stays(house: House) -> None:
    hello = decode(HELLO)
    loop = looped(600, 350, pause_ms=150, seconds=30)
    transcript = await transcript_of(house, np.concatenate([hello, np.zeros(48_000, np.int16), loop]))
    assert "thank you for calling" in transcript.text.lower()
    assert {gap.reason for gap in transcript.gaps} == {"REPETITIVE_AUDIO"}
    assert all(segment.end_offset_ms <= duration_ms(hello) for segment in transcript.segments)
    assert min(gap.start_offset_ms for gap in transcript.gaps) >= duration_ms(hello)


async def test_sentence_that_is_played_again_is_written_again(house: House) -> None:
    transcript = await transcript_of(house, again(decode(HELLO), 3))
    assert transcript.text.lower().count("thank you for calling") == 3
    assert not transcript.gaps
