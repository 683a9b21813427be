"""Rows of a batch neither wait for nor suffer from each other's trouble."""

import threading
from collections.abc import Callable

import numpy as np
import pytest

from services.inference.triton.host import Cancelled, Patience, Row, RowsApart, answers_of
from services.inference.triton.wire import Arrays, BadRequest


def doubled(inputs: Arrays) -> Arrays:
    """Of odd numbers; 0 was nobody's wish, and even ones break the model."""
    number = int(inputs["X"][0])
    if number == 0:
        raise BadRequest("zero")
    if number % 2 == 0:
        raise RuntimeError("even")
    return {"Y": inputs["X"] * 2}


def row(number: int, cancelled: Callable[[], bool] = lambda: False) -> Row:
    return Row({"X": np.array([number])}, cancelled)


def test_trouble_is_its_rows_own() -> None:
    answers = answers_of(RowsApart(doubled, 2), [row(1), row(0), row(2), row(3), row(5, lambda: True)])
    assert [type(answer) for answer in answers] == [dict, BadRequest, RuntimeError, dict, Cancelled]
    assert [int(answer["Y"][0]) for answer in answers if isinstance(answer, dict)] == [2, 6]


def test_rows_are_heard_beside_each_other() -> None:
    together = threading.Barrier(3, timeout=20)

    def meet(inputs: Arrays) -> Arrays:
        together.wait()
        return inputs

    assert len(RowsApart(meet, 3).answer([row(1), row(3), row(5)])) == 3


def test_question_is_asked_rarely_and_not_again_after_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked, cancelled = 100.0, 0, False

    def ask() -> bool:
        nonlocal asked
        asked += 1
        return cancelled

    monkeypatch.setattr("services.inference.triton.host.time.monotonic", lambda: now)
    patience = Patience(ask)
    assert [patience(), patience(), asked] == [False, False, 1]
    cancelled = True
    assert not patience()
    now += 0.06
    assert [patience(), asked] == [True, 2]
    now += 0.06
    assert [patience(), asked] == [True, 2]
