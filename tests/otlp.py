"""An OpenTelemetry collector for tests: takes spans over HTTP, as protobuf or JSON, and keeps them."""

import base64
import gzip
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Status

_KINDS = ("", "internal", "server", "client", "producer", "consumer")


@dataclass(frozen=True)
class Exported:
    """One span as it came; ids in hexadecimal. failed: its status is an error."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    seconds: float
    failed: bool
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What came, and where it has to be sent to. status: what it answers."""

    url: str = ""
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    spans: list[Exported] = field(default_factory=list)

    def take(self, body: bytes, content_type: str) -> None:
        """Keep the spans of an export."""
        self.bodies.append(body)
        for resource_spans in _read(body, content_type).resource_spans:
            self.spans.extend(_spans(resource_spans))

    def of(self, trace_id: str) -> "Trace":
        """The spans of one trace so far."""
        return Trace({span.span_id: span for span in list(self.spans) if span.trace_id == trace_id})

    def wait(self, found: Callable[[], Any], seconds: float = 20.0) -> None:
        """Until it is found."""
        until = time.monotonic() + seconds
        while not found():
            assert time.monotonic() < until, sorted({(span.service, span.name) for span in self.spans})
            time.sleep(0.02)


@dataclass(frozen=True)
class Trace:
    """Spans of one trace by their id."""

    spans: dict[str, Exported]

    def named(self, name: str, service: str = "") -> Sequence[Exported]:
        """Those of a name, of one service if that is given."""
        return [span for span in self.spans.values() if span.name == name and service in ("", span.service)]

    def way_up(self, span: Exported) -> list[tuple[str, str]]:
        """Service and name of the span, its parent and so on to the first that came."""
        way = []
        while True:
            way.append((span.service, span.name))
            if span.parent_id not in self.spans:
                return way
            span = self.spans[span.parent_id]


def _read(body: bytes, content_type: str) -> ExportTraceServiceRequest:
    if "json" not in content_type:
        return ExportTraceServiceRequest.FromString(body)
    return Parse(json.dumps(_with_base64(json.loads(body))), ExportTraceServiceRequest())


def _with_base64(value: Any) -> Any:
    """OTLP's JSON has ids in hexadecimal, protobuf's in base 64."""
    if isinstance(value, dict):
        ids = {name: _base64(value[name]) for name in ("traceId", "spanId", "parentSpanId") if name in value}
        return {name: _with_base64(item) for name, item in value.items()} | ids
    return [_with_base64(item) for item in value] if isinstance(value, list) else value


def _base64(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()


def _spans(found: ResourceSpans) -> Iterator[Exported]:
    service = _values(found.resource.attributes).get("service.name", "")
    for scope in found.scope_spans:
        for span in scope.spans:
            yield Exported(
                service=service,
                name=span.name,
                kind=_KINDS[span.kind],
                trace_id=span.trace_id.hex(),
                span_id=span.span_id.hex(),
                parent_id=span.parent_span_id.hex(),
                seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                failed=span.status.code == Status.STATUS_CODE_ERROR,
                attributes=_values(span.attributes),
            )


def _values(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    return getattr(value, value.WhichOneof("value") or "string_value")


@contextmanager
def running_collector() -> Iterator[Collector]:
    """A collector that listens until left."""
    collector = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if collector.status == 200:
                collector.take(body, self.headers["content-type"])
            self.send_response(collector.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, name="collector", daemon=True)
        thread.start()
        yield collector
        server.shutdown()
        thread.join(10)
