"""What the rules let through reads as times in pairs that never go back."""

from itertools import pairwise

import numpy as np
import pytest

from services.inference.models.whisper.rules import TokenRules
from services.inference.models.whisper.vocabulary import GenerationConfig, SpecialTokens

SPECIAL = SpecialTokens(end=50, start=51, previous=54, transcribe=53, translate=52, no_timestamps=56, no_speech=55)
FIRST = SPECIAL.first_timestamp
SIZE = FIRST + 101
CONFIG = GenerationConfig(suppressed=(3, 51, 52, 53, 54, 55), suppressed_at_start=(7, 50), max_initial_timestamp=5)


def said(seed: int, timestamps: bool) -> list[int]:
    """Likeliest allowed tokens of random logits."""
    rules, random = TokenRules(SPECIAL, CONFIG), np.random.default_rng(seed)
    tokens: list[int] = []
    while len(tokens) < 60:
        logits = (random.standard_normal((1, SIZE)) * 3).astype(np.float32)
        logits[0, :50] += 2.5
        rules.apply(logits, [tokens], [timestamps])
        token = int(logits[0].argmax())
        if token == SPECIAL.end:
            break
        tokens.append(token)
    return tokens


@pytest.mark.parametrize("seed", range(20))
def test_times_come_in_pairs_and_never_go_back(seed: int) -> None:
    tokens = said(seed, timestamps=True)
    times = [token for token in tokens if token >= FIRST]
    assert FIRST <= tokens[0] <= FIRST + 5
    assert times == sorted(times)
    for before, one, after in zip([FIRST, *tokens], tokens, tokens[1:], strict=False):
        assert not (before >= FIRST and one >= FIRST and after >= FIRST), "three in a row"
    for one, other in pairwise(range(1, len(tokens))):
        if tokens[one] >= FIRST and tokens[one - 1] < FIRST:
            assert tokens[other] >= FIRST, "text after a closing time that no opening one follows"


@pytest.mark.parametrize("timestamps", [False, True])
def test_suppressed_tokens_never_come(timestamps: bool) -> None:
    tokens = [token for seed in range(20) for token in said(seed, timestamps)]
    assert not {3, *range(51, 56)} & set(tokens)
    assert tokens


def test_rows_follow_their_own_rules() -> None:
    logits = np.zeros((2, SIZE), np.float32)
    TokenRules(SPECIAL, CONFIG).apply(logits, [[], [1]], [True, False])
    assert np.isinf(logits[0, :FIRST]).all()
    assert logits[1, 7] == 0
    assert np.isinf(logits[1, 3])


def test_a_time_is_due_when_times_together_are_likelier() -> None:
    logits = np.zeros((1, SIZE), np.float32)
    logits[0, 10] = np.log(101) - 0.1
    TokenRules(SPECIAL, CONFIG).apply(logits, [[FIRST, 1]], [True])
    assert logits[0].argmax() >= FIRST
    logits = np.zeros((1, SIZE), np.float32)
    logits[0, 10] = np.log(101) + 0.1
    TokenRules(SPECIAL, CONFIG).apply(logits, [[FIRST, 1]], [True])
    assert logits[0].argmax() == 10
