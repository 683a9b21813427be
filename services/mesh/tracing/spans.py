"""Spans: the one in hand, its children, and the tracer that begins them; nothing of it costs anything while tracing is off."""

import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from services.mesh.contexts import within
from services.mesh.tracing.parents import (
    SAMPLED,
    UNSAMPLED,
    headers_of,
    is_sampled,
    make_parent,
    span_id_of,
    state_of,
    trace_id_of,
)
from services.mesh.tracing.sampling import Sampling

Value = str | int | float | bool
P = ParamSpec("P")
T = TypeVar("T")


class Kind(IntEnum):
    """What a span is to its parent; OpenTelemetry's numbers."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2
    PRODUCER = 3
    CONSUMER = 4


class Span:
    """One step of a trace, in hand within a `with` block. One that is not recorded only carries the trace on.

    parent: of whatever is told of this step. error: what went wrong, empty for nothing; an exception that leaves the block, unless said
    before. Values are ids, names and numbers: never what anybody said, sent or must not know.
    """

    __slots__ = ("_token", "_tracer", "above", "attributes", "end_ns", "error", "kind", "name", "parent", "recorded", "start_ns")

    def __init__(self, tracer: "Tracer | None", name: str, kind: Kind, above: str, parent: str, *, recorded: bool) -> None:
        self.name = name
        self.kind = kind
        self.above = above
        self.parent = parent
        self.recorded = recorded
        self.attributes: dict[str, Value] = {}
        self.error: str | None = None
        self.start_ns = time.time_ns() if recorded else 0
        self.end_ns = 0
        self._tracer = tracer
        self._token: Token[Span | None] | None = None

    @property
    def trace_id(self) -> str:
        """Of its trace, 32 hexadecimal digits, where that is recorded; else empty."""
        return trace_id_of(self.parent) if self.recorded else ""

    def set(self, name: str, value: Value) -> None:
        """Note a value."""
        if self.recorded:
            self.attributes[name] = value

    def child(self, name: str, kind: Kind = Kind.INTERNAL, attributes: Mapping[str, Value] | None = None) -> "Span":
        """A step below this one."""
        if not self.recorded or self._tracer is None:
            return self._unrecorded()
        return self._tracer.begin(name, kind, self.parent, attributes)

    def _unrecorded(self) -> "Span":
        return Span(None, "", Kind.INTERNAL, "", self.parent, recorded=False)

    def end(self) -> None:
        """The step is over; what comes later is not recorded."""
        if self.recorded and not self.end_ns and self._tracer is not None:
            self.end_ns = time.time_ns()
            self._tracer.sink(self)

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._token is not None:
            _current.reset(self._token)
        if kind is not None and self.error is None:
            # Its name alone: what it says may quote anything.
            self.error = kind.__qualname__
        self.end()


class _Nothing(Span):
    """No span; may be entered by any number at once."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(None, "", Kind.INTERNAL, "", "", recorded=False)

    def _unrecorded(self) -> Span:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return


NOTHING = _Nothing()
_current: ContextVar[Span | None] = ContextVar("steno_span", default=None)


@dataclass(frozen=True)
class Tracer:
    """Begins spans. sink: gets those that are recorded once they are over, on the loop; it may not wait."""

    sampling: Sampling
    sink: Callable[[Span], None]

    def begin(self, name: str, kind: Kind, parent: str = "", attributes: Mapping[str, Value] | None = None) -> Span:
        """A step below the parent; without one the first of a trace."""
        # Random enough: ids are to differ, not to be secret.
        trace_id = trace_id_of(parent) or f"{random.getrandbits(128) or 1:032x}"
        recorded = is_sampled(parent) if parent and self.sampling.inherits else self.sampling.takes(trace_id)
        if not recorded and parent and not is_sampled(parent):
            return Span(None, name, kind, "", parent, recorded=False)
        span_id = f"{random.getrandbits(64) or 1:016x}"
        own = make_parent(trace_id, span_id, SAMPLED if recorded else UNSAMPLED, state_of(parent))
        span = Span(self, name, kind, span_id_of(parent), own, recorded=recorded)
        if recorded and attributes:
            span.attributes.update(attributes)
        return span


_tracer: ContextVar[Tracer | None] = ContextVar("steno_tracer", default=None)


@contextmanager
def tracing_with(tracer: Tracer | None) -> Iterator[None]:
    """Whatever is opened within traces so. Only who composes a process calls this."""
    token = _tracer.set(tracer)
    try:
        yield
    finally:
        _tracer.reset(token)


def tracer_or_none() -> Tracer | None:
    """How this process traces; None when it does not. Asked once, by whoever is opened."""
    return _tracer.get()


def current_span() -> Span:
    """The span in hand, or one that does nothing."""
    return _current.get() or NOTHING


def current_parent() -> str:
    """The parent of whatever is begun now, wherever that will run."""
    span = _current.get()
    return span.parent if span is not None else ""


def current_headers() -> tuple[tuple[str, str], ...]:
    """Names and values that tell others of the span in hand."""
    span = _current.get()
    return tuple(headers_of(span.parent)) if span is not None else ()


def span(name: str, kind: Kind = Kind.INTERNAL, attributes: Mapping[str, Value] | None = None) -> Span:
    """A step of what is in hand; nothing where that is not recorded."""
    above = _current.get()
    return above.child(name, kind, attributes) if above is not None and above.recorded else NOTHING


@contextmanager
def in_hand(span: Span) -> Iterator[None]:
    """What happens within belongs to a span that goes on elsewhere."""
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)


def below(parent: str, name: str, kind: Kind = Kind.INTERNAL, attributes: Mapping[str, Value] | None = None) -> Span:
    """A step of a trace that somebody else began and wrote down; nothing without a trace, or while this process does not trace."""
    tracer = _tracer.get()
    return tracer.begin(name, kind, parent, attributes) if tracer is not None and parent else NOTHING


def carried(work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The same work, part of the span in hand now, whichever task does it."""
    span = _current.get()
    return work if span is None else within(partial(in_hand, span), work)
