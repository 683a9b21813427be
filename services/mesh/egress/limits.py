"""How long, how much and how slowly the other side may answer."""

from dataclasses import dataclass

KIBIBYTE = 1024


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds of one fetch, redirects included.

    A fetch that brings fewer than `least_bytes_per_second` over `window_seconds` of waiting is given up. A refusal takes
    `floor_seconds` at least, so that its time tells nothing.
    """

    resolve_seconds: float = 5.0
    connect_seconds: float = 10.0
    idle_seconds: float = 20.0
    total_seconds: float = 1800.0
    max_redirects: int = 3
    max_head_bytes: int = 64 * KIBIBYTE
    least_bytes_per_second: int = 2 * KIBIBYTE
    window_seconds: float = 20.0
    floor_seconds: float = 1.0
