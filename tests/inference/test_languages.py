"""Windows keep the language they are sure of; short and doubtful ones follow their neighbours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.languages import misheard, spoken_languages
from steno.inference.v1.window_transcript_pb2 import WindowTranscript

ENGLISH = {"en": 0.97, "de": 0.02}
GERMAN = {"de": 0.97, "en": 0.02}
UNSURE = {"de": 0.5, "en": 0.45}


def windows_of(*heard: tuple[int, dict[str, float]]) -> list[WindowTranscript]:
    """Windows of so many seconds, decoded in the language that each is likeliest in."""
    windows, start_ms = [], 0
    for seconds, probabilities in heard:
        window = WindowTranscript(start_offset_ms=start_ms, end_offset_ms=start_ms + seconds * 1000)
        window.language = max(probabilities, key=lambda language: probabilities[language], default="")
        window.language_probabilities.update(probabilities)
        windows.append(window)
        start_ms = window.end_offset_ms
    return windows


def test_long_window_that_is_sure_keeps_its_language_among_others() -> None:
    assert misheard(windows_of((25, ENGLISH), (25, ENGLISH), (25, GERMAN), (25, ENGLISH), (25, ENGLISH))) == {}


def test_doubtful_window_follows_its_neighbours() -> None:
    assert misheard(windows_of((25, ENGLISH), (25, UNSURE), (25, ENGLISH))) == {1: "en"}


def test_short_window_follows_its_neighbours_though_it_is_sure() -> None:
    assert misheard(windows_of((25, ENGLISH), (2, GERMAN), (25, ENGLISH))) == {1: "en"}


def test_first_and_last_window_have_neighbours_on_one_side() -> None:
    assert misheard(windows_of((25, UNSURE), (25, ENGLISH), (25, ENGLISH), (2, GERMAN))) == {0: "en", 3: "en"}


def test_doubt_alone_is_no_evidence() -> None:
    assert misheard(windows_of((25, UNSURE))) == {}
    assert misheard(windows_of((25, UNSURE), (25, UNSURE), (25, UNSURE))) == {}


def test_both_sides_of_a_change_of_language_stay() -> None:
    assert misheard(windows_of(*[(20, ENGLISH)] * 4, *[(20, GERMAN)] * 4)) == {}


def test_windows_without_probabilities_are_not_judged_and_are_no_evidence() -> None:
    windows = windows_of((25, ENGLISH), (2, {}), (25, ENGLISH))
    windows[1].language = "de"
    assert misheard(windows) == {}


def test_window_that_was_corrected_stays_so() -> None:
    windows = windows_of((25, ENGLISH), (2, GERMAN), (25, ENGLISH))
    windows[1].language = "en"
    assert misheard(windows) == {}


LANGUAGES = st.dictionaries(st.sampled_from(["de", "en", "fr", "it"]), st.floats(0, 1), max_size=4)


@given(st.lists(st.tuples(st.integers(1, 30), LANGUAGES), max_size=12))
def test_corrections_are_settled_after_one_round(heard: list[tuple[int, dict[str, float]]]) -> None:
    windows = windows_of(*heard)
    for place, language in misheard(windows).items():
        assert windows[place].language != language
        windows[place].language = language
    assert misheard(windows) == {}


def test_languages_are_counted_by_the_length_of_windows_with_words() -> None:
    windows = windows_of((10, ENGLISH), (30, GERMAN), (25, ENGLISH), (60, {"fr": 1.0}))
    for window in windows[:3]:
        window.words.add(text="word")
    assert [(spoken.language, spoken.duration_ms) for spoken in spoken_languages(windows)] == [("en", 35_000), ("de", 30_000)]


@pytest.mark.parametrize("windows", [[], windows_of((10, ENGLISH))])
def test_without_words_there_is_no_language(windows: list[WindowTranscript]) -> None:
    assert spoken_languages(windows) == []
