"""Recorded spans on their way to a collector, by OpenTelemetry's SDK and as its own environment says; without that nothing is loaded."""

import asyncio
import importlib.metadata
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from services.mesh import semconv
from services.mesh.settings import UnusableSettings
from services.mesh.telemetry import get_logger
from services.mesh.tracing.parents import span_id_of, state_of, trace_id_of
from services.mesh.tracing.sampling import Sampling
from services.mesh.tracing.spans import Kind, Span, Tracer, tracing_with

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import SpanContext

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
_SPOKEN = "http/protobuf"
# What the SDK calls who is not named.
_UNNAMED = "unknown_service"
_COMPLAINT_SECONDS = 60.0
_REMOTE = frozenset({Kind.SERVER, Kind.CONSUMER})


def is_on(environment: Mapping[str, str]) -> bool:
    """Whether spans are exported: there is an endpoint, and nothing says otherwise."""
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    return any(environment.get(name) for name in _ENDPOINTS) and exporter == "otlp" and not disabled


@asynccontextmanager
async def open_tracing(service: str, flush_seconds: float) -> AsyncIterator[None]:
    """Whatever is opened within traces, if OpenTelemetry's environment asks for it; then what is left goes out, for so long at most.

    Raises UnusableSettings for a sampler or a protocol that there is not.
    """
    if not is_on(os.environ):
        yield
        return
    sampling = _read_settings()
    processor, sink = await asyncio.to_thread(_open_processor, service)
    try:
        with tracing_with(Tracer(sampling, sink)):
            yield
    finally:
        await _within(processor.shutdown, flush_seconds)


def _read_settings() -> Sampling:
    for name in _PROTOCOLS:
        if os.environ.get(name, _SPOKEN) not in ("", _SPOKEN):
            raise UnusableSettings(f"{name}: only {_SPOKEN} is spoken here")
    try:
        return Sampling.read(os.environ.get("OTEL_TRACES_SAMPLER", ""), os.environ.get("OTEL_TRACES_SAMPLER_ARG", ""))
    except ValueError as error:
        raise UnusableSettings(str(error)) from error


async def _within(work: Callable[[], None], seconds: float) -> None:
    """Wait for work in a thread that is left behind when it takes longer: a collector that is away keeps no service from its end."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="span flush", daemon=True).start()
    try:
        async with asyncio.timeout(seconds):
            await done.wait()
    except TimeoutError:
        get_logger("mesh.tracing").warning("spans not flushed in time", seconds=seconds)


def _open_processor(service: str) -> "tuple[SpanProcessor, Callable[[Span], None]]":
    """Its queue is bounded and its thread exports; a full queue drops the oldest."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # It complains of every batch; we do once a minute.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    processor = BatchSpanProcessor(_measured(OTLPSpanExporter()))
    readable = _readable_with(_resource(service))
    return processor, lambda span: processor.on_end(readable(span))


def _resource(service: str) -> "Resource":
    """Who exports: what the environment says, and what it leaves open."""
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource

    found = Resource.create()
    named = not str(found.attributes.get(SERVICE_NAME, "")).startswith(_UNNAMED)
    ours = {SERVICE_VERSION: importlib.metadata.version("steno"), **({} if named else {SERVICE_NAME: f"steno-{service}"})}
    return found.merge(Resource(ours))


def _measured(exporter: "SpanExporter") -> "SpanExporter":
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Measured(SpanExporter):
        """Counts what was lost, and says so once a minute."""

        def __init__(self) -> None:
            self._complain_time = 0.0
            self._lost = 0

        def export(self, spans: "Sequence[ReadableSpan]") -> SpanExportResult:
            result = exporter.export(spans)
            if result is SpanExportResult.SUCCESS:
                semconv.SPANS.labels("sent").inc(len(spans))
            else:
                semconv.SPANS.labels("lost").inc(len(spans))
                self._complain(len(spans))
            return result

        def _complain(self, count: int) -> None:
            self._lost += count
            if time.monotonic() >= self._complain_time:
                get_logger("mesh.tracing").warning("spans lost, the collector does not take them", count=self._lost)
                self._complain_time, self._lost = time.monotonic() + _COMPLAINT_SECONDS, 0

        def shutdown(self) -> None:
            exporter.shutdown()

    return Measured()


def _readable_with(resource: "Resource") -> "Callable[[Span], ReadableSpan]":
    """How the SDK wants to be given a span."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

    scope = InstrumentationScope("steno")
    flags = TraceFlags(TraceFlags.SAMPLED)
    kinds = {kind: SpanKind(kind.value) for kind in Kind}

    def context(span: Span, span_id: str, *, remote: bool) -> "SpanContext":
        state = TraceState.from_header([state_of(span.parent)])
        return SpanContext(int(trace_id_of(span.parent), 16), int(span_id, 16), remote, flags, state)

    def readable(span: Span) -> ReadableSpan:
        attributes = {**span.attributes, semconv.Attribute.ERROR_TYPE: span.error} if span.error else span.attributes
        return ReadableSpan(
            name=span.name,
            context=context(span, span_id_of(span.parent), remote=False),
            parent=context(span, span.above, remote=span.kind in _REMOTE) if span.above else None,
            resource=resource,
            attributes=attributes,
            kind=kinds[span.kind],
            instrumentation_scope=scope,
            status=Status(StatusCode.ERROR) if span.error else Status(),
            start_time=span.start_ns,
            end_time=span.end_ns,
        )

    return readable
