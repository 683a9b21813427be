"""The sentences that the test Whisper is trained and examined on."""

import random

import pytest

from tools.whisper.grammar import LANGUAGES, Language, bare, fresh_sentence, is_held_out, sentence, vocabulary
from tools.whisper.lexicon import HOMOPHONES

SENTENCES = 2_000


@pytest.mark.parametrize("language", LANGUAGES)
def test_training_never_hears_a_held_out_sentence(language: Language) -> None:
    chance = random.Random(1)
    trained = {fresh_sentence(chance, language, held_out=False) for _ in range(SENTENCES)}
    examined = {fresh_sentence(chance, language, held_out=True) for _ in range(SENTENCES // 10)}
    assert not trained & examined


def test_one_sentence_in_twelve_is_held_out() -> None:
    chance = random.Random(2)
    texts = {sentence(chance, language) for language in LANGUAGES for _ in range(SENTENCES)}
    assert 0.06 < sum(map(is_held_out, texts)) / len(texts) < 0.1


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_a_sentence_is_in_the_vocabulary(language: Language) -> None:
    chance = random.Random(3)
    words = {bare(word) for _ in range(SENTENCES) for word in sentence(chance, language).split()}
    assert words <= vocabulary(language)
    assert len(words) > 0.9 * len(vocabulary(language))


def test_the_same_seed_gives_the_same_sentences() -> None:
    first, second = ([sentence(chance, "en") for _ in range(20)] for chance in (random.Random(4), random.Random(4)))
    assert first == second


def test_only_prompts_hold_the_other_spelling_of_a_name() -> None:
    assert not set(HOMOPHONES.values()) & set(HOMOPHONES)
    assert not {bare(name) for name in HOMOPHONES.values()} & vocabulary("en")
