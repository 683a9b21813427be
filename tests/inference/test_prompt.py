"""What of a prompt reaches a model: one line, no special tokens, the end of what is too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.pipeline import window_parameters
from services.inference.prompt import MAX_PROMPT_TOKENS, prepare_prompt
from steno.jobs.v1.job_pb2 import TranscriptionConfig

PIECES = st.sampled_from(["<|", "|>", "<", "|", ">", "<|endoftext|>", "word", " ", "日本", "\x00", "\n", ",", "Nguyen"])


@pytest.mark.parametrize(
    ("given_prompt", "prepared"),
    [
        ("ACME Corp, KPIs,\n Dr. Nguyen", "ACME Corp, KPIs, Dr. Nguyen"),
        ("one<|endoftext|>two", "one two"),
        ("<|startoftranscript|><|de|> Hallo", "Hallo"),
        ("a <|<|x|>y|> b", "a y b"),
        ("\x00\u200b tab\tnew", "tab new"),
        ("   ", ""),
    ],
)
def test_prompt_is_one_plain_line(given_prompt: str, prepared: str) -> None:
    assert prepare_prompt(given_prompt) == prepared


@given(st.lists(PIECES, max_size=40).map("".join))
def test_no_special_token_can_be_spelled(prompt: str) -> None:
    prepared = prepare_prompt(prompt)
    assert "<|" not in prepared
    assert "|>" not in prepared
    assert prepare_prompt(prepared) == prepared


def test_of_a_long_prompt_the_end_stays_from_a_whole_word_on() -> None:
    words = [f"{number:04d}" for number in range(1000)]
    assert prepare_prompt(" ".join(words)).split() == words[-MAX_PROMPT_TOKENS:]
    long_words = [f"word{number:04d}" for number in range(1000)]
    assert prepare_prompt(" ".join(long_words)).split() == long_words[-MAX_PROMPT_TOKENS // 2 :]
    assert prepare_prompt("x" * 5000) == "x" * 4 * MAX_PROMPT_TOKENS


def test_scripts_without_spaces_count_by_character() -> None:
    assert prepare_prompt("語" * 1000) == "語" * MAX_PROMPT_TOKENS


def test_what_the_order_asks_reaches_every_window() -> None:
    plain = window_parameters(TranscriptionConfig())
    assert (plain.language, plain.prompt, plain.translate, plain.temperature) == (None, "", False, None)
    asked = window_parameters(
        TranscriptionConfig(language="en", prompt=" A\nB<|en|> ", task=TranscriptionConfig.TASK_TRANSLATE, temperature=0.0)
    )
    assert (asked.language, asked.prompt, asked.translate, asked.temperature) == ("en", "A B", True, 0.0)
