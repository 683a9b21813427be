"""The one byte range that a request asks for (RFC 9110, section 14)."""

import re
from dataclasses import dataclass

# Nineteen digits hold any length there is; longer numbers are not worth parsing.
_SINGLE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes start to end (exclusive)."""

    start: int
    end: int


class RangeNotSatisfiable(Exception):
    """The range lies outside of the bytes."""


def whole(size_bytes: int) -> Span:
    """All of it."""
    return Span(0, size_bytes)


def asked_span(header: str, size_bytes: int) -> Span | None:
    """The span asked for, or None for all of it: no, several, a malformed or a reversed range.

    Raises RangeNotSatisfiable.
    """
    found = _SINGLE.fullmatch(header)
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        return _suffix(int(found[2]), size_bytes)
    start = int(found[1])
    last = int(found[2]) if found[2] else size_bytes - 1
    if found[2] and last < start:
        return None
    if start >= size_bytes:
        raise RangeNotSatisfiable
    return Span(start, min(last + 1, size_bytes))


def _suffix(length: int, size_bytes: int) -> Span:
    if length == 0 or size_bytes == 0:
        raise RangeNotSatisfiable
    return Span(max(0, size_bytes - length), size_bytes)
