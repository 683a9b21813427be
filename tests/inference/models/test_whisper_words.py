"""Words are written as people write them, and last as long as people speak them."""

from pathlib import Path

import pytest

from services.inference.models.whisper.vocabulary import Vocabulary, read_vocabulary
from services.inference.models.whisper.words import SpokenToken, build_words


@pytest.fixture
def vocabulary(whisper_folder: Path) -> Vocabulary:
    return read_vocabulary(whisper_folder)


def spoken(vocabulary: Vocabulary, text: str, step_ms: int = 20) -> list[SpokenToken]:
    """Each byte takes a step."""
    tokens = vocabulary.encode(text)
    return [SpokenToken(token, place * step_ms, (place + 1) * step_ms, 0.5) for place, token in enumerate(tokens)]


def test_words_have_their_punctuation_but_not_its_time(vocabulary: Vocabulary) -> None:
    words = build_words(vocabulary, spoken(vocabulary, 'Yes, "Ana" said: no!'), "en")
    assert [word.text for word in words] == ["Yes,", '"Ana"', "said:", "no!"]
    assert (words[0].start_ms, words[0].end_ms) == (0, 80)
    assert words[0].probability == 0.5


def test_characters_of_several_tokens_stay_whole(vocabulary: Vocabulary) -> None:
    words = build_words(vocabulary, spoken(vocabulary, "¿Dónde está él?"), "es")
    assert [word.text for word in words] == ["¿Dónde", "está", "él?"]


def test_languages_without_spaces_have_a_word_per_character(vocabulary: Vocabulary) -> None:
    words = build_words(vocabulary, spoken(vocabulary, "你好。吗")[1:], "zh")
    assert [word.text for word in words] == ["你", "好。", "吗"]


def test_half_a_character_leaves_no_trace(vocabulary: Vocabulary) -> None:
    words = build_words(vocabulary, spoken(vocabulary, "no ñ")[:-1], "es")
    assert [word.text for word in words] == ["no"]


def test_a_pause_is_no_part_of_a_word(vocabulary: Vocabulary) -> None:
    tokens = spoken(vocabulary, "one two. three")
    stretched = [
        SpokenToken(one.token, one.start_ms + (5_000 if place >= 8 else 0), one.end_ms + (5_000 if place >= 7 else 0), one.probability)
        for place, one in enumerate(tokens)
    ]
    one, two, three = build_words(vocabulary, stretched, "en")
    assert one.end_ms <= two.start_ms < two.end_ms < 2_000
    assert three.start_ms >= 5_000


def test_no_tokens_make_no_words(vocabulary: Vocabulary) -> None:
    assert build_words(vocabulary, [], "en") == ()
