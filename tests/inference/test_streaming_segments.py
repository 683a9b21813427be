"""Streamed segments are those of the whole transcript, whatever the order in which windows end."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.inference.assembly import Recognition, to_transcript
from services.inference.audio import Audio
from services.inference.engines.engine import Engine
from services.inference.languages import misheard
from services.inference.streaming.segments import SegmentStream
from services.inference.windows import Window
from steno.inference.v1.inference_service_pb2 import TranscribeResponse
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.job_pb2 import TranscriptionConfig
from steno.jobs.v1.transcript_pb2 import Transcript, Word

TEXTS = st.sampled_from(["one", "two", "three", "i", "four."])
SEEN_LANGUAGES = st.sampled_from([{}, {"en": 0.95, "es": 0.05}, {"en": 0.1, "es": 0.9}, {"en": 0.5, "es": 0.5}])


def engine_that(punctuates: bool) -> Engine:
    """As much of an engine as assembly looks at."""
    return cast(Engine, SimpleNamespace(name="local", model="m", punctuates=punctuates))


@st.composite
def heard_windows(draw: st.DrawFn) -> list[WindowTranscript]:
    """Windows of a file, in order, apart or back to back."""
    windows: list[WindowTranscript] = []
    start_ms = 0
    for _ in range(draw(st.integers(1, 8))):
        start_ms += draw(st.sampled_from([0, 300, 900, 4_000]))
        window = WindowTranscript(start_offset_ms=start_ms)
        for _ in range(draw(st.integers(0, 6))):
            start_ms += draw(st.sampled_from([0, 100, 700, 801, 9_000]))
            end_ms = start_ms + draw(st.sampled_from([0, 200, 500]))
            window.words.append(Word(start_offset_ms=start_ms, end_offset_ms=end_ms, text=draw(TEXTS)))
            start_ms = end_ms
        start_ms += draw(st.sampled_from([0, 200, 1_000]))
        window.end_offset_ms = max(start_ms, window.start_offset_ms + 1)
        start_ms = window.end_offset_ms
        window.language_probabilities.update(draw(SEEN_LANGUAGES))
        window.language = max(window.language_probabilities, key=window.language_probabilities.__getitem__, default="en")
        if not window.words and draw(st.booleans()):
            window.gap_reason = "WINDOW_FAILED"
        windows.append(window)
    return windows


def whole(windows: list[WindowTranscript], config: TranscriptionConfig, engine: Engine) -> Transcript:
    audio = Audio(np.zeros(0, np.int16), windows[-1].end_offset_ms, truncated=False)
    return to_transcript(Recognition(audio, windows, [], 0.5, config, engine))


def corrected(windows: list[WindowTranscript]) -> list[WindowTranscript]:
    """The windows after those that were decoded in a wrong language were heard again."""
    again = [WindowTranscript.FromString(window.SerializeToString()) for window in windows]
    for place, language in misheard(windows).items():
        again[place].language = language
        for word in again[place].words:
            word.text += "x"
    return again


def parts(responses: list[TranscribeResponse]) -> tuple[list[Any], list[Any]]:
    segments = [response.segment for response in responses if response.HasField("segment")]
    return segments, [response.gap for response in responses if response.HasField("gap")]


@given(heard_windows(), st.randoms(use_true_random=False), st.booleans(), st.sampled_from(["", "en"]))
def test_what_was_sent_is_never_taken_back(windows: list[WindowTranscript], random: Any, punctuates: bool, language: str) -> None:
    config, engine = TranscriptionConfig(word_timestamps=True, language=language), engine_that(punctuates)
    stream = SegmentStream(config, engine)
    stream.plan([Window(index, window.start_offset_ms, window.end_offset_ms) for index, window in enumerate(windows)])
    order = list(range(len(windows)))
    random.shuffle(order)
    sent = [response for index in order for response in stream.add(index, windows[index])]
    final = whole(windows if language else corrected(windows), config, engine)
    if not final.speech_detected:
        assert sent == []
        return
    everything = [*sent, *stream.finish(final)]
    assert parts(everything) == (list(final.segments), list(final.gaps))
    starts = [getattr(response, str(response.WhichOneof("event"))).start_offset_ms for response in everything]
    assert starts == sorted(starts)


def test_a_segment_before_a_long_pause_needs_nothing_of_what_follows() -> None:
    window = WindowTranscript(start_offset_ms=0, end_offset_ms=1_000, words=[Word(end_offset_ms=900, text="one")])
    stream = SegmentStream(TranscriptionConfig(), engine_that(punctuates=True))
    stream.plan([Window(0, 0, 1_000), Window(1, 2_000, 3_000)])
    assert [response.segment.text for response in stream.add(0, window)] == ["one"]


def test_with_speakers_all_comes_at_the_end() -> None:
    window = WindowTranscript(start_offset_ms=0, end_offset_ms=1_000, words=[Word(end_offset_ms=900, text="one")])
    stream = SegmentStream(TranscriptionConfig(diarize=True), engine_that(punctuates=True))
    stream.plan([Window(0, 0, 1_000)])
    assert stream.add(0, window) == []
    final = whole([window], TranscriptionConfig(), engine_that(punctuates=True))
    assert [response.segment.text for response in stream.finish(final)] == ["one"]
