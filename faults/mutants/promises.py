"""How a trial says which promise a product broke; the names are those of the invariants in docs/reliability.md."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")
_PAUSE_SECONDS = 0.05


class Promise(StrEnum):
    """A promise by which a mutant is to be found; most are the checker's, the rest a scenario looks at itself."""

    KEPT = "I-1"
    ENDS = "I-3"
    ONE_WINNER = "I-5"
    CANCELLED_STAYS = "I-6"
    POISON_CONTAINED = "I-7"
    ONE_JOB = "I-9"
    KEY_COMPARED = "idempotency key with other payload"
    RECOVERS_WORK = "I-12"
    SETTLED_ONCE = "I-16"
    CHARGED_DECODED = "I-16 amount"
    UNCHARGED = "I-17"
    CONSERVED = "I-18"
    NO_OVERDRAFT = "I-19"
    GONE = "I-22"
    STORED = "I-24"
    HIDDEN = "I-26"
    STOPS = "orderly end on SIGTERM"
    BURIED = "dead letters"
    ACCEPTED = "an order in good standing is accepted"
    SIMULTANEOUS = "changes at one moment"


class Broken(AssertionError):
    """The product under test broke promises, by name with what was seen."""

    def __init__(self, found: dict[str, str]) -> None:
        self.found = found
        super().__init__("; ".join(f"{promise}: {detail}" for promise, detail in found.items()))


def expect(holds: object, promise: Promise, detail: object) -> None:
    """Raises Broken unless it holds."""
    if not holds:
        raise Broken({promise: str(detail)})


async def within(seconds: float, ask: Callable[[], Awaitable[T | None]], promise: Promise, detail: str) -> T:
    """The first answer that is neither None nor False. Raises Broken when the time is over."""
    until = time.monotonic() + seconds
    while True:
        answer = await ask()
        if answer is not None and answer is not False:
            return answer
        if time.monotonic() > until:
            raise Broken({promise: f"{detail}, waited for {seconds:g} s"})
        await asyncio.sleep(_PAUSE_SECONDS)
