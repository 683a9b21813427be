"""The rule: at most so many requests within any minute. Exact, where a bucket of tokens lets nearly twice as many through."""

from collections.abc import Sequence
from dataclasses import dataclass

WINDOW_MS = 60_000
_STAMP_BYTES = 8


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one request.

    stamps: times of the accepted requests of the last minute, in milliseconds since 1970, oldest first. remaining: how many
    more may come now. reset_ms: until when one more of the used up places is free again; 0 when none is used.
    """

    accepted: bool
    limit: int
    remaining: int
    reset_ms: int
    stamps: tuple[int, ...]


def decide(stamps: Sequence[int], now_ms: int, limit: int) -> Decision:
    """Whether one more request may pass. Stamps of another clock that is ahead count as of now."""
    recent = [min(stamp, now_ms) for stamp in stamps if stamp > now_ms - WINDOW_MS][-limit:]
    accepted = len(recent) < limit
    if accepted:
        recent.append(now_ms)
    return Decision(accepted, limit, limit - len(recent), recent[0] + WINDOW_MS - now_ms, tuple(recent))


def pack(stamps: Sequence[int]) -> bytes:
    """Stamps as bytes."""
    return b"".join(stamp.to_bytes(_STAMP_BYTES, "big") for stamp in stamps)


def unpack(value: bytes) -> list[int]:
    """What `pack` made; anything else counts as nothing."""
    if len(value) % _STAMP_BYTES:
        return []
    return [int.from_bytes(value[start : start + _STAMP_BYTES], "big") for start in range(0, len(value), _STAMP_BYTES)]
