"""Guessed words of seconds go, loops are told, and what people really say again stays."""

import pytest

from services.inference.doubts import flags, is_guessed_loop, plausible, said_twice
from services.inference.transcript import Segment, Verdict, Word
from steno.inference.v1.window_transcript_pb2 import WindowTranscript


def words_of(text: str, probability: float | None = 0.9, start_ms: int = 0) -> list[Word]:
    return [Word(word, start_ms + n * 400, start_ms + n * 400 + 300, probability) for n, word in enumerate(text.split())]


def window_of(text: str, start_ms: int = 0, verdict: str = "", no_speech_prob: float | None = None) -> WindowTranscript:
    window = WindowTranscript(start_offset_ms=start_ms, end_offset_ms=start_ms + 9_000, verdict=verdict, no_speech_prob=no_speech_prob)
    for word in words_of(text, start_ms=start_ms):
        window.words.add(text=word.text, start_offset_ms=word.start_ms, end_offset_ms=word.end_ms)
    return window


def told(
    text: str, probability: float | None = 0.9, twice: tuple[int, ...] = (), verdict: str = "", no_speech_prob: float | None = None
) -> list[str]:
    words = words_of(text, probability)
    return list(flags(Segment(0, 9_000, text, tuple(words)), window_of(text, verdict=verdict, no_speech_prob=no_speech_prob), twice))


@pytest.mark.parametrize(
    ("length_ms", "probability", "kept"),
    [(2_001, 0.14, False), (2_000, 0.14, True), (2_001, 0.15, True), (9_000, None, True)],
)
def test_only_long_and_guessed_words_are_dropped(length_ms: int, probability: float | None, kept: bool) -> None:
    beside = Word("beside", 0, 100, 0.01)
    found = plausible([beside, Word("you", 200, 200 + length_ms, probability)])
    assert [word.text for word in found] == ["beside", "you"][: 1 + kept]


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("no no no no", True),
        ("No, no. NO no!", True),
        ("no no no", False),
        ("thank you thank you thank you thank you", True),
        ("well thank you very much for that thank you very much", False),
        ("one two three four five six " * 4, True),
        ("the quick brown fox jumps over the lazy dog", False),
        ("", False),
    ],
)
def test_phrase_four_times_in_a_row_is_a_repetition(text: str, repeats: bool) -> None:
    assert ("repetition" in told(text)) is repeats


def test_flags_follow_the_words_and_the_window() -> None:
    assert told("fine words") == []
    assert told("mumbled words", 0.1) == ["low_confidence"]
    assert told("fine words", verdict=Verdict.DOUBTFUL) == ["low_confidence"]
    assert told("fine words", no_speech_prob=0.7) == ["high_no_speech"]
    assert told("fine words", no_speech_prob=0.6) == []
    assert told("fine words", twice=(400,)) == ["repetition"]
    overlapped = Segment(0, 300, "both", (Word("both", 0, 300, 0.9, overlap=True),))
    assert list(flags(overlapped, window_of("both"), ())) == ["overlap"]


def test_words_of_one_window_that_begin_the_next_are_found() -> None:
    windows = [
        window_of("we will meet again on Monday."),
        window_of(""),
        window_of("again on monday we will see", 10_000),
        window_of("will see about that", 20_000),
    ]
    assert said_twice(windows) == {10_000}


@pytest.mark.parametrize(
    ("text", "probability", "loop"),
    [
        ("for the for the for the for the", 0.2, True),
        ("for the for the for the for the", 0.9, False),
        ("he said for the for the for the for the", 0.2, True),
        ("we came all this way only to say no no no no", 0.2, False),
        ("", 0.2, False),
    ],
)
def test_only_a_loop_that_was_guessed_is_no_text(text: str, probability: float, loop: bool) -> None:
    assert is_guessed_loop(words_of(text, probability)) is loop
