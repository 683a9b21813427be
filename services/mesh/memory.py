"""Answers of another service, remembered for seconds."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

MAX_REMEMBERED = 10_000
Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")


class Memory(Generic[Question, Answer]):
    """Answers by what was asked, for a few seconds; past ten thousand the oldest go first."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._answers: OrderedDict[Question, tuple[float, Answer]] = OrderedDict()

    async def recall(
        self, question: Question, ask: Callable[[], Awaitable[Answer]], keep: Callable[[Answer], bool] = lambda _: True
    ) -> Answer:
        """The remembered answer, or the one that `ask` gives now. keep: whether to remember it."""
        known = self._answers.get(question)
        if known is not None and known[0] > self._clock():
            return known[1]
        asked = self._clock()
        answer = await ask()
        self._answers.pop(question, None)
        if not keep(answer):
            return answer
        self._answers[question] = (asked + self._seconds, answer)
        if len(self._answers) > MAX_REMEMBERED:
            self._answers.popitem(last=False)
        return answer

    def forget(self, matches: Callable[[Answer], bool]) -> None:
        """Drop the answers that match."""
        for question in [question for question, (_, answer) in self._answers.items() if matches(answer)]:
            del self._answers[question]
