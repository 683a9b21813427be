"""The ladder of temperatures over a server that makes one try per request: a window that cannot be believed is queued again."""

from collections.abc import Awaitable, Callable, Container
from dataclasses import replace

from services.inference.models.whisper.temperatures import FINAL, next_temperature, rank
from services.inference.transcript import Verdict, WindowResult
from services.inference.triton.wire import WindowTry

Ask = Callable[[WindowTry], Awaitable[WindowResult]]


async def climb(ask: Ask, window: WindowTry, languages: Container[str]) -> WindowResult:
    """The first try that can be believed, else the best.

    The first try's language holds for the others, if it is one of those that may be asked for: a model that learned few languages
    still hears others.
    """
    first = best = found = await ask(window)
    while _verdict(found) not in FINAL and (higher := next_temperature(window.temperature)) is not None:
        language = window.language or (found.language if found.language in languages else None)
        window = replace(window, temperature=higher, language=language)
        found = await ask(window)
        best = max(best, found, key=_rank)
    return replace(best, language_probabilities=best.language_probabilities or first.language_probabilities)


def _verdict(result: WindowResult) -> Verdict:
    return result.verdict or Verdict.ACCEPTED


def _rank(result: WindowResult) -> tuple[bool, bool, float]:
    likelihood = result.average_log_probability
    return rank(_verdict(result), float("-inf") if likelihood is None else likelihood)
