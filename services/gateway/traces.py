"""The span of a request, as plain ASGI; only where the gateway traces is this among its middlewares."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from services.mesh.semconv import Attribute
from services.mesh.tracing.parents import TRACE_PARENT, TRACE_STATE, read_parent
from services.mesh.tracing.spans import Kind, Span, Tracer

# Asked for every few seconds, by machines.
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
_PARENT, _STATE = TRACE_PARENT.encode(), TRACE_STATE.encode()
_FIRST_FAULT = 500


class Traces:
    """Continues the trace that a request names, or begins one."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _UNTRACED:
            await self._app(scope, receive, send)
            return
        with self._tracer.begin(scope["method"], Kind.SERVER, _parent(scope)) as span:
            if span.recorded:
                await self._follow(span, scope, receive, send)
            else:
                await self._app(scope, receive, send)

    async def _follow(self, span: Span, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                _note_answer(span, message)
            await send(message)

        # Every request is a task of its own, so its context need not be put back.
        bind_contextvars(trace_id=span.trace_id)
        try:
            await self._app(scope, receive, watched)
        finally:
            _note_request(span, scope)


def _parent(scope: Scope) -> str:
    trace_parent, state = b"", b""
    for name, value in scope["headers"]:
        if name == _PARENT:
            trace_parent = value
        elif name == _STATE:
            state = value
    return read_parent(trace_parent.decode("latin-1"), state.decode("latin-1")) if trace_parent else ""


def _note_answer(span: Span, message: Message) -> None:
    status = int(message["status"])
    span.set(Attribute.HTTP_STATUS, status)
    if status >= _FIRST_FAULT:
        span.error = str(status)
    request_id = next((value for name, value in message["headers"] if name == b"x-request-id"), b"")
    span.set(Attribute.REQUEST_ID, request_id.decode("latin-1"))


def _note_request(span: Span, scope: Scope) -> None:
    """Neither path nor query: ids of others, signed URLs and what clients add by mistake."""
    route, client = scope["state"].get("route", "unknown"), scope["state"].get("client")
    span.name = f"{scope['method']} {route}"
    span.set(Attribute.HTTP_METHOD, scope["method"])
    span.set(Attribute.HTTP_ROUTE, route)
    if client is not None:
        span.set(Attribute.WORKSPACE_ID, client.caller.workspace_id)
