"""The marks that the test Whisper is given."""

import pytest

from services.inference.transcript import Word
from tools.whisper.probes import speechless
from tools.whisper.scores import score
from tools.whisper.utterance import Span

SPOKEN = [Span("Good", 0.5, 0.7), Span("morning,", 0.7, 1.2), Span("Sara.", 1.3, 1.8)]


def heard(*words: tuple[str, int, int]) -> list[Word]:
    return [Word(text, start_ms, end_ms, 0.9) for text, start_ms, end_ms in words]


def test_marks_and_capitals_are_no_errors() -> None:
    found = score([SPOKEN], [heard(("good", 500, 700), ("morning", 700, 1_200), ("sara", 1_300, 1_800))])
    assert (found.words, found.word_error_rate, found.starts_close, found.ends_close) == (3, 0, 1, 1)


def test_only_words_heard_right_are_timed() -> None:
    found = score([SPOKEN], [heard(("Good", 590, 700), ("Tom.", 0, 0), ("Sara.", 1_300, 1_950))])
    assert found.word_error_rate == pytest.approx(1 / 3, abs=1e-4)
    assert (found.starts_close, found.ends_close) == (1, 0.5)
    assert found.start_offset == pytest.approx(0.045)


def test_nothing_heard_is_all_wrong() -> None:
    found = score([SPOKEN], [[]])
    assert (found.word_error_rate, found.starts_close) == (1, 0)


def test_speechless_windows_are_of_every_kind_and_length() -> None:
    windows = speechless(15)
    assert {len(window) for window in windows} == {3 * 16_000, 10 * 16_000, 30 * 16_000}
    assert sum(not window.any() for window in windows) == 3
