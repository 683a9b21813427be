"""Where a trace stands, as W3C Trace Context says it: a `traceparent`, and a `tracestate` that is only passed on.

A parent is one text: the first, and the second after a space where there is one; empty for none. So it fits the rows and headers
that tell of it. Source: https://www.w3.org/TR/trace-context/.
"""

import re
from collections.abc import Iterable, Mapping

TRACE_PARENT = "traceparent"
TRACE_STATE = "tracestate"
SAMPLED = "01"
UNSAMPLED = "00"
_LENGTH = 55
_MOST_STATE_CHARACTERS = 512
# Of a version to come only what the first one has is understood; it may go on after a hyphen.
_VALID = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_STATE = re.compile(r"[!-~](?:[ -~\t]*[!-~])?")


def read_parent(trace_parent: str, trace_state: str = "") -> str:
    """The parent of these header values; empty for what is not valid. A state that is too long is dropped."""
    if not trace_parent or not _VALID.fullmatch(trace_parent):
        return ""
    if trace_parent.startswith("00") and len(trace_parent) != _LENGTH:
        return ""
    known = f"00{trace_parent[2:_LENGTH]}"
    if trace_state and len(trace_state) <= _MOST_STATE_CHARACTERS and _STATE.fullmatch(trace_state):
        return f"{known} {trace_state}"
    return known


def parent_in(headers: Mapping[str, str]) -> str:
    """The parent that headers in lower case tell of."""
    found = headers.get(TRACE_PARENT)
    return read_parent(found, headers.get(TRACE_STATE, "")) if found else ""


def headers_of(parent: str) -> Iterable[tuple[str, str]]:
    """Names and values that tell of a parent."""
    trace_parent, _, state = parent.partition(" ")
    if trace_parent:
        yield TRACE_PARENT, trace_parent
    if state:
        yield TRACE_STATE, state


def make_parent(trace_id: str, span_id: str, flags: str, state: str = "") -> str:
    """The parent of these hexadecimal parts."""
    return f"00-{trace_id}-{span_id}-{flags} {state}" if state else f"00-{trace_id}-{span_id}-{flags}"


def trace_id_of(parent: str) -> str:
    """32 hexadecimal digits."""
    return parent[3:35]


def span_id_of(parent: str) -> str:
    """16 hexadecimal digits; empty for no parent."""
    return parent[36:52]


def state_of(parent: str) -> str:
    """The state that is passed on."""
    return parent[_LENGTH + 1 :]


def is_sampled(parent: str) -> bool:
    """Whether who began the trace has it recorded."""
    return bool(int(parent[53:55], 16) & 1)
