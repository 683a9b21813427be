"""Labels, whatever form they were written in: a type and a stretch of a recording, in milliseconds."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Generic, TypeVar

_LONGEST_NAME = 100
# Ten years: past it, a number of seconds is a mistake.
_MOST_SECONDS = 315_360_000

Line = TypeVar("Line")
Read = TypeVar("Read")


class LabelForm(StrEnum):
    """How labels are written."""

    AUTO = "auto"
    AUDACITY = "audacity"
    CSV = "csv"
    JAMS = "jams"


class BadLabel(ValueError):
    """A label that cannot be taken; the message says why, without the place."""


@dataclass(frozen=True)
class Label:
    """A labelled stretch. place: where it was read, for the person who has to mend it."""

    artifact_type: str
    start_ms: int
    end_ms: int
    confidence: float = 1.0
    place: str = field(default="", compare=False)


@dataclass
class Reading(Generic[Read]):
    """What was read, and a sentence for each thing that was not."""

    found: list[Read] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def collect(lines: Iterable[tuple[str, Line]], read: Callable[[str, Line], Read | None]) -> Reading[Read]:
    """Read every line, each with its place; what is nothing is passed over, what is bad becomes a problem."""
    reading: Reading[Read] = Reading()
    for place, line in lines:
        try:
            one = read(place, line)
        except BadLabel as error:
            reading.problems.append(f"{place}: {error}")
            continue
        if one is not None:
            reading.found.append(one)
    return reading


def make_label(name: str, start_ms: Decimal, end_ms: Decimal, confidence: Decimal, place: str) -> Label:
    """A label of at least a millisecond. Raises BadLabel."""
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise BadLabel(f"the label has {len(name)} characters; 1 to {_LONGEST_NAME} are taken" if name else "the label is empty")
    if start_ms < 0:
        raise BadLabel("the label starts before its recording")
    if end_ms <= start_ms:
        raise BadLabel("the label marks a point, not a stretch" if end_ms == start_ms else "the label ends before it starts")
    if not 0 <= confidence <= 1:
        raise BadLabel(f"a confidence of {confidence} is not between 0 and 1")
    start = round(start_ms)
    return Label(name, start, max(start + 1, round(end_ms)), float(confidence), place)


def seconds(text: str) -> Decimal:
    """Seconds as milliseconds. Raises BadLabel."""
    return number(text, "a number of seconds") * 1000


def number(text: str, what: str) -> Decimal:
    """A finite number of a size that can be meant. Raises BadLabel."""
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise BadLabel(f"{text.strip()!r} is not {what}") from None
    if not value.is_finite() or abs(value) > _MOST_SECONDS * 1000:
        raise BadLabel(f"{text.strip()!r} is not {what}")
    return value
