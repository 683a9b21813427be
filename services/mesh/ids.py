"""Ids: UUIDv7 strings that grow within a process."""

import secrets
import threading
import time
import uuid

_RANDOM_BITS = 62
_NANOSECONDS_PER_MS = 1_000_000


class IdSequence:
    """UUIDv7 with 12 sub-millisecond bits. Source: RFC 9562, section 6.2, method 3."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> str:
        """A new id, greater than every id of this sequence before it."""
        ticks = self._tick()
        head = (ticks >> 12) << 16 | 0x7000 | ticks & 0xFFF
        tail = 0b10 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
        return str(uuid.UUID(int=head << 64 | tail))

    def _tick(self) -> int:
        milliseconds, rest = divmod(time.time_ns(), _NANOSECONDS_PER_MS)
        now = milliseconds << 12 | rest * 4096 // _NANOSECONDS_PER_MS
        with self._lock:
            self._last = max(now, self._last + 1)
            return self._last


# One sequence per process: two would not grow together.
_SEQUENCE = IdSequence()


def new_id() -> str:
    """A UUIDv7 in canonical form; ids of one process sort in the order they were made."""
    return _SEQUENCE.next()


def is_id(text: str) -> bool:
    """Whether text is a UUIDv7 in canonical lower-case form."""
    try:
        value = uuid.UUID(text)
    except ValueError:
        return False
    return value.version == 7 and str(value) == text
