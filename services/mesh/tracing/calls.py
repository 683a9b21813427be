"""Spans around calls and messages: what they are called, what they note, and how they end."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from nats.aio.msg import Msg

from services.mesh.deliveries import EVENT_ID
from services.mesh.semconv import Attribute
from services.mesh.status import RemoteError
from services.mesh.telemetry import bound_contextvars
from services.mesh.tracing.parents import parent_in
from services.mesh.tracing.spans import NOTHING, Kind, Span, Tracer, Value, current_parent, current_span, in_hand

_GRPC, _NATS = "grpc", "nats"
# Of these the server is at fault; source: OpenTelemetry's conventions for gRPC.
_SERVERS_FAULTS = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
_FAILED = frozenset({"retried", "dead"})


def rpc_attributes(method: str, peer: str = "") -> dict[str, Value]:
    """What a call is, by its full path."""
    service, _, name = method.lstrip("/").rpartition("/")
    known: dict[str, Value] = {Attribute.RPC_SYSTEM: _GRPC, Attribute.RPC_SERVICE: service, Attribute.RPC_METHOD: name}
    return {**known, Attribute.PEER: peer} if peer else known


def _client_span(above: Span, method: str, peer: str) -> Span:
    return above.child(method.lstrip("/"), Kind.CLIENT, rpc_attributes(method, peer))


def traced_call(call: Callable[..., Awaitable[Any]], method: str, peer: str) -> Callable[..., Awaitable[Any]]:
    """A call with one answer, below the span in hand where that is recorded."""

    async def traced(request: Any, **options: Any) -> Any:
        above = current_span()
        if not above.recorded:
            return await call(request, **options)
        with _client_span(above, method, peer) as span:
            try:
                answer = await call(request, **options)
            except RemoteError as error:
                _refused(span, error)
                raise
            span.set(Attribute.RPC_CODE, 0)
            return answer

    return traced


def traced_stream(call: Callable[..., AsyncIterator[Any]], method: str, peer: str) -> Callable[..., AsyncIterator[Any]]:
    """A call with many answers; its span goes on until the last."""

    def traced(request: Any, **options: Any) -> AsyncIterator[Any]:
        above = current_span()
        if not above.recorded:
            return call(request, **options)
        span = _client_span(above, method, peer)
        with in_hand(span):
            return _followed(call(request, **options), span)

    return traced


async def _followed(answers: AsyncIterator[Any], span: Span) -> AsyncIterator[Any]:
    try:
        async for answer in answers:
            yield answer
        span.set(Attribute.RPC_CODE, 0)
    except RemoteError as error:
        _refused(span, error)
        raise
    finally:
        span.end()


def _refused(span: Span, error: RemoteError) -> None:
    span.set(Attribute.RPC_CODE, int(error.code.value[0]))
    span.error = error.reason_name


def begin_rpc(tracer: Tracer | None, method: str, metadata: Mapping[str, str]) -> Span:
    """The span of a call at its server."""
    if tracer is None:
        return NOTHING
    return tracer.begin(method.lstrip("/"), Kind.SERVER, parent_in(metadata))


def end_rpc(span: Span, method: str, code: grpc.StatusCode, reason: str, workspace_id: str) -> None:
    """Note what became of it."""
    if not span.recorded:
        return
    span.attributes.update(rpc_attributes(method))
    span.attributes[Attribute.RPC_CODE] = int(code.value[0])
    if workspace_id:
        span.attributes[Attribute.WORKSPACE_ID] = workspace_id
    span.error = (reason or code.name) if code in _SERVERS_FAULTS else ""


@contextmanager
def scoped(span: Span, **values: str) -> Iterator[None]:
    """The span in hand, and in every log line the values and the trace it belongs to, where that is recorded."""
    if trace_id := span.trace_id:
        values["trace_id"] = trace_id
    with bound_contextvars(**values), span:
        yield


def publishing(tracer: Tracer | None, subject: str, event_id: str, parent: str) -> Span:
    """The span of a message on its way to the bus. parent: where the trace stood when the message was written down, if it was."""
    parent = parent or current_parent()
    if tracer is None or not parent:
        return NOTHING
    span = tracer.begin(f"send {subject}", Kind.PRODUCER, parent)
    if span.recorded:
        span.attributes.update(_message("send", subject, event_id))
    return span


def consuming(tracer: Tracer | None, consumer: str, message: Msg) -> Span:
    """The span of a message in the hands of a consumer."""
    if tracer is None:
        return NOTHING
    headers = message.headers or {}
    span = tracer.begin(f"process {consumer}", Kind.CONSUMER, parent_in(headers))
    if span.recorded:
        span.attributes.update(_message("process", message.subject, headers.get(EVENT_ID, "")))
        span.attributes[Attribute.MESSAGING_CONSUMER] = consumer
        span.attributes[Attribute.DELIVERIES] = message.metadata.num_delivered
    return span


def _message(operation: str, subject: str, event_id: str) -> dict[str, Value]:
    return {
        Attribute.MESSAGING_SYSTEM: _NATS,
        Attribute.MESSAGING_OPERATION: operation,
        Attribute.MESSAGING_DESTINATION: subject,
        Attribute.MESSAGING_ID: event_id,
    }


def end_message(span: Span, outcome: str) -> None:
    """Note what became of it."""
    span.set(Attribute.OUTCOME, outcome)
    if outcome in _FAILED and span.error is None:
        span.error = outcome
