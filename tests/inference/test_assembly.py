"""Messages say what the models said: times of the file, fields of the right window, gaps, speakers."""

import numpy as np
import pytest

from services.inference.assembly import Recognition, no_speech, to_transcript, to_window_transcript
from services.inference.audio import Audio
from services.inference.engines.local import LocalEngine
from services.inference.engines.local_pool import WorkerPool
from services.inference.transcript import Turn, Verdict, WindowResult, Word
from services.inference.windows import Window
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.job_pb2 import TranscriptionConfig
from steno.jobs.v1.transcript_pb2 import Transcript

AUDIO = Audio(np.zeros(0, np.int16), 30_000, truncated=True)


@pytest.fixture
def engine() -> LocalEngine:
    """An engine for its names: its pool starts no process before the first call."""
    return LocalEngine(WorkerPool(1))


def window_of(engine: LocalEngine, index: int, start_ms: int, end_ms: int, *words: Word, **result: object) -> WindowTranscript:
    return to_window_transcript(Window(index, start_ms, end_ms), engine, WindowResult("", words, **result))  # type: ignore[arg-type]


def transcript_of(engine: LocalEngine, windows: list[WindowTranscript], turns: list[Turn], *, word_timestamps: bool = False) -> Transcript:
    return to_transcript(Recognition(AUDIO, windows, turns, 0.5, TranscriptionConfig(word_timestamps=word_timestamps), engine))


def test_window_times_become_file_times_inside_the_window(engine: LocalEngine) -> None:
    window = window_of(engine, 1, 10_000, 12_000, Word("one", 100, 400, 0.5), Word("two", 1900, 2500), language="en")
    assert [(word.start_offset_ms, word.end_offset_ms) for word in window.words] == [(10_100, 10_400), (11_900, 12_000)]
    assert window.words[0].probability == 0.5
    assert not window.words[1].HasField("probability")
    assert (window.engine, window.model, window.language) == (engine.name, engine.model, "en")


def test_unknown_measures_stay_absent_and_zero_is_not_unknown(engine: LocalEngine) -> None:
    assert not window_of(engine, 0, 0, 1000).HasField("avg_logprob")
    window = window_of(engine, 0, 0, 1000, no_speech_probability=0.0)
    assert window.HasField("no_speech_prob")
    assert not window.HasField("compression_ratio")


def test_segment_takes_the_measures_of_its_own_window(engine: LocalEngine) -> None:
    first = window_of(engine, 0, 0, 5000, Word("hello", 100, 600, 0.9), average_log_probability=-1.0, language="en")
    second = window_of(engine, 1, 5000, 9000, Word("world", 0, 600, 0.9), average_log_probability=-2.0, language="de")
    turns = [Turn(0, 5000, 0), Turn(5000, 9000, 1)]
    transcript = transcript_of(engine, [first, second], turns)
    assert [segment.avg_logprob for segment in transcript.segments] == [-1.0, -2.0]
    assert [segment.language for segment in transcript.segments] == ["en", "de"]
    assert [segment.speaker for segment in transcript.segments] == ["SPEAKER_00", "SPEAKER_01"] == list(transcript.speakers)
    assert [segment.id for segment in transcript.segments] == [0, 1]
    assert transcript.language == "en"


def test_main_language_is_that_of_most_time(engine: LocalEngine) -> None:
    windows = [window_of(engine, n, n * 1000, n * 1000 + 500, language="en") for n in range(3)]
    windows.append(window_of(engine, 3, 5000, 9000, Word("hallo", 0, 500), language="de"))
    assert transcript_of(engine, windows, []).language == "de"


def test_gap_is_told_and_the_words_around_it_stay(engine: LocalEngine) -> None:
    windows = [
        window_of(engine, 0, 0, 2000, Word("before", 0, 900)),
        to_window_transcript(Window(1, 2000, 4000), engine, None),
        window_of(engine, 2, 4000, 6000, Word("after", 0, 900)),
    ]
    transcript = transcript_of(engine, windows, [])
    assert [(gap.start_offset_ms, gap.end_offset_ms, gap.reason) for gap in transcript.gaps] == [(2000, 4000, "WINDOW_FAILED")]
    assert transcript.text.lower().split()[0].startswith("before")
    assert "after" in transcript.text.lower()
    assert transcript.speakers == []


def test_word_times_are_told_only_when_asked_for(engine: LocalEngine) -> None:
    windows = [window_of(engine, 0, 0, 2000, Word("hello", 0, 900, 0.87654321))]
    assert [len(segment.words) for segment in transcript_of(engine, windows, []).segments] == [0]
    words = transcript_of(engine, windows, [Turn(0, 2000, 0)], word_timestamps=True).segments[0].words
    assert [(word.start_offset_ms, word.end_offset_ms, word.speaker) for word in words] == [(0, 900, "SPEAKER_00")]
    assert words[0].probability == pytest.approx(0.8765)


def test_doubtful_words_flag_their_segment(engine: LocalEngine) -> None:
    windows = [window_of(engine, 0, 0, 2000, Word("mumble", 0, 900, 0.1)), window_of(engine, 1, 9000, 9900, Word("clear", 0, 900, 0.9))]
    flags = [list(segment.flags) for segment in transcript_of(engine, windows, []).segments]
    assert flags == [["low_confidence"], []]


def test_length_and_truncation_are_those_of_the_decoded_audio(engine: LocalEngine) -> None:
    for transcript in (no_speech(AUDIO, 0.01, engine), transcript_of(engine, [window_of(engine, 0, 0, 2000)], [])):
        assert (transcript.audio_duration_ms, transcript.truncated) == (30_000, True)
        assert (transcript.engine, transcript.model) == (engine.name, engine.model)


def test_text_that_only_repeats_itself_is_a_gap_and_silence_is_none(engine: LocalEngine) -> None:
    word = Word("la", 0, 500, 0.9)
    windows = [
        window_of(engine, 0, 0, 2000, Word("before", 0, 900), verdict=Verdict.ACCEPTED),
        window_of(engine, 1, 2000, 4000, word, verdict=Verdict.REPETITIVE),
        window_of(engine, 2, 4000, 6000, word, verdict=Verdict.SILENT, no_speech_probability=0.9),
    ]
    transcript = transcript_of(engine, windows, [])
    assert [(gap.start_offset_ms, gap.end_offset_ms, gap.reason) for gap in transcript.gaps] == [(2000, 4000, "REPETITIVE_TEXT")]
    assert transcript.text.lower() == "before."


def test_nothing_heard_and_no_gap_is_no_speech(engine: LocalEngine) -> None:
    silent = [window_of(engine, 0, 0, 2000, Word("la", 0, 500), verdict=Verdict.SILENT)]
    transcript = transcript_of(engine, silent, [])
    assert (transcript.speech_detected, transcript.text, list(transcript.gaps)) == (False, "", [])
    assert transcript.suggestion
    assert transcript_of(engine, [*silent, to_window_transcript(Window(1, 2000, 4000), engine, None)], []).speech_detected


def test_language_changes_the_segment_and_is_counted(engine: LocalEngine) -> None:
    windows = [
        window_of(engine, 0, 0, 2000, Word("hello", 1500, 1990), language="en"),
        window_of(engine, 1, 2000, 5000, Word("hallo", 0, 500), language="de"),
        window_of(engine, 2, 5000, 9000, language="fr"),
    ]
    transcript = transcript_of(engine, windows, [])
    assert [(segment.text, segment.language) for segment in transcript.segments] == [("Hello.", "en"), ("Hallo.", "de")]
    assert [(spoken.language, spoken.duration_ms) for spoken in transcript.languages] == [("de", 3000), ("en", 2000)]


def test_verdict_and_languages_are_kept_with_the_window(engine: LocalEngine) -> None:
    window = window_of(engine, 0, 0, 2000, verdict=Verdict.DOUBTFUL, language_probabilities={"en": 0.75, "de": 0.25})
    assert (window.verdict, dict(window.language_probabilities)) == ("doubtful", {"en": 0.75, "de": 0.25})
    assert window_of(engine, 0, 0, 2000).verdict == ""
