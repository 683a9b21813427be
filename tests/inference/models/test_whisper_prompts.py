"""Prompts have Whisper's order and always leave room to decode."""

import json
import shutil
from pathlib import Path

import pytest

from services.inference.models.whisper.prompts import Task, build_prompt, token_limit
from services.inference.models.whisper.vocabulary import Vocabulary, read_vocabulary

CONTEXT = 448


@pytest.fixture
def vocabulary(whisper_folder: Path) -> Vocabulary:
    return read_vocabulary(whisper_folder)


def test_order_of_tokens(vocabulary: Vocabulary) -> None:
    special = vocabulary.special
    prompt = build_prompt(vocabulary, Task("es", translate=True, hotwords="Ada", text="so it is"), CONTEXT)
    assert prompt.tokens[0] == special.previous
    assert vocabulary.decode(prompt.tokens) == " Ada so it is"
    assert prompt.tokens[prompt.start :] == (special.start, special.languages["es"], special.translate, special.no_timestamps)


def test_without_text_nothing_comes_before_the_start(vocabulary: Vocabulary) -> None:
    prompt = build_prompt(vocabulary, Task("en", timestamps=True, text="  "), CONTEXT)
    assert prompt.tokens == (vocabulary.special.start, vocabulary.special.languages["en"], vocabulary.special.transcribe)
    assert prompt.start == 0


def vocabulary_of(whisper_folder: Path, copy: Path, **changed: object) -> Vocabulary:
    """As the model's generation config, changed, says."""
    for name in ("tokenizer.json", "generation_config.json"):
        shutil.copy(whisper_folder / name, copy)
    config = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps(config | changed))
    return read_vocabulary(copy)


def test_a_model_of_english_only_is_told_no_language_though_its_tokens_have_them(whisper_folder: Path, tmp_path: Path) -> None:
    vocabulary = vocabulary_of(whisper_folder, tmp_path, is_multilingual=False)
    assert build_prompt(vocabulary, Task("en"), CONTEXT).tokens == (vocabulary.special.start, vocabulary.special.no_timestamps)


def test_only_languages_that_the_model_was_taught_are_listened_for(whisper_folder: Path, tmp_path: Path, vocabulary: Vocabulary) -> None:
    ids = vocabulary.special.languages
    taught = vocabulary_of(whisper_folder, tmp_path, lang_to_id={f"<|{code}|>": ids[code] for code in ("es", "en")})
    assert taught.special.languages == {"en": ids["en"], "es": ids["es"]}
    assert list(vocabulary_of(whisper_folder, tmp_path, lang_to_id=None).special.languages) == list(ids)


def test_hotwords_and_text_share_one_budget(vocabulary: Vocabulary) -> None:
    prompt = build_prompt(vocabulary, Task("en", hotwords="h" * 400, text="t" * 400), CONTEXT)
    assert prompt.start == 1 + 223
    both = build_prompt(vocabulary, Task("en", hotwords="h" * 22, text="t" * 400 + "end"), CONTEXT)
    assert both.start == 1 + 223
    assert vocabulary.decode(both.tokens) == " " + "h" * 22 + "t" * 197 + "end"


def test_text_steers_nothing(vocabulary: Vocabulary) -> None:
    prompt = build_prompt(vocabulary, Task("en", text="a <|endoftext|><|translate|><|0.00|> b"), CONTEXT)
    assert all(vocabulary.is_text(token) for token in prompt.tokens[1 : prompt.start])


def test_limit_grows_with_the_window_and_stays_in_the_context(vocabulary: Vocabulary) -> None:
    short = build_prompt(vocabulary, Task("en"), CONTEXT)
    long = build_prompt(vocabulary, Task("en", text="t" * 400), CONTEXT)
    assert token_limit(1.0, "en", short, CONTEXT) == 24
    assert token_limit(1.0, "ta", short, CONTEXT) == 41
    assert token_limit(30.0, "ta", long, CONTEXT) + len(long.tokens) == CONTEXT
