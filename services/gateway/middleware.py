"""What happens around every request, as plain ASGI: its id, its log line, errors as answers, CORS."""

import os
import re
import time
from collections.abc import Awaitable, Callable

from prometheus_client import Histogram
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from services.mesh import semconv
from services.mesh.interceptors import request_id
from services.mesh.telemetry import get_logger

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_ALLOWED_METHODS = "GET, POST"
# Browsers upload by themselves to a signed URL, with PUT.
_UPLOAD_PATH = re.compile(r"(?:/whipscribe)?/api/v1/uploads/[0-9A-Fa-f-]{36}")
# Client libraries add headers of their own, such as X-Stainless-Lang; without credentials there is nothing to protect from them.
_ASKED_HEADERS = re.compile(r"[A-Za-z0-9, -]{1,2048}")
_ALLOWED_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, If-Range, Last-Event-ID, Range, "
    "X-API-Key, X-Claim-Token, X-Guest-Token, X-Request-Id, X-User-Email"
)
_EXPOSED_HEADERS = (
    "Accept-Ranges, Content-Disposition, Content-Range, RateLimit, RateLimit-Policy, Retry-After, "
    "X-Idempotent-Replay, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id, X-Steno-Job-Id"
)
_CLIENT_GONE_STATUS = 499
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH", "PUT"})

ErrorRenderer = Callable[[Scope, Exception], Response]


class RequestContext:
    """Gives a request its id, its canonical log line and its metrics; closes a connection whose body stays unread."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._logger = get_logger("gateway.http").bind()
        self._histograms: dict[tuple[str, str, int], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        request_id.set(exchange.request_id)
        # Every request is a task of its own, so its context need not be put back.
        bind_contextvars(request_id=exchange.request_id)
        try:
            with semconv.HTTP_IN_FLIGHT.track_inprogress():
                await self._app(scope, exchange.receive, exchange.send)
        finally:
            self._record(scope, exchange)

    def _record(self, scope: Scope, exchange: "_Exchange") -> None:
        seconds = time.perf_counter() - exchange.started
        route = scope["state"].get("route", "unknown")
        status = exchange.status or _CLIENT_GONE_STATUS
        self._histogram(route, scope["method"], status).observe(seconds)
        client = scope["state"].get("client")
        self._logger.info(
            "request",
            route=route,
            method=scope["method"],
            status=status,
            milliseconds=round(seconds * 1000, 2),
            workspace_id=client.caller.workspace_id if client else "",
            key_id=client.caller.key_id if client else "",
        )

    def _histogram(self, route: str, method: str, status: int) -> Histogram:
        """The labelled child, looked up once: the library's own look-up takes a lock and ten microseconds."""
        label = (route, method if method in _METHODS else "other", status)
        if label not in self._histograms:
            self._histograms[label] = semconv.HTTP_SECONDS.labels(label[0], label[1], str(status))
        return self._histograms[label]


class _Exchange:
    """One request and its answer, passing by."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        asked = headers.get(b"x-request-id", b"")
        self.request_id = asked.decode("ascii") if _REQUEST_ID.fullmatch(asked) else os.urandom(16).hex()
        self.status = 0
        self.started = time.perf_counter()
        self._state = scope["state"]
        self._receive = receive
        self._send = send
        self._unread = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers

    async def receive(self) -> Message:
        message = await self._receive()
        self._unread = self._unread and message["type"] == "http.request" and bool(message.get("more_body"))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            extra = [(b"x-request-id", self.request_id.encode()), (b"x-content-type-options", b"nosniff")]
            extra += self._state.get("answer_headers", ())
            if self._unread:
                extra.append((b"connection", b"close"))
            message["headers"] = [*message["headers"], *extra]
        await self._send(message)


class ErrorAnswers:
    """Turns what a handler raises into an answer; the unexpected is logged once."""

    def __init__(self, app: ASGIApp, render: ErrorRenderer) -> None:
        self._app = app
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return
        except Exception as error:
            if started:
                raise
            await self._render(scope, error)(scope, receive, send)


class Cors:
    """Opens the API to browsers of any origin for GET and POST (and PUT for uploads), without credentials."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if b"origin" not in headers:
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            scope["state"]["route"] = "preflight"
            asked = headers.get(b"access-control-request-headers", b"").decode("latin-1")
            await _preflight(scope["path"], asked)(scope, receive, send)
        else:
            await self._app(scope, receive, _opened(send))


def _preflight(path: str, asked_headers: str) -> Response:
    also = f", {asked_headers}" if _ASKED_HEADERS.fullmatch(asked_headers) else ""
    return Response(
        status_code=204,
        headers={
            "access-control-allow-origin": "*",
            "access-control-allow-methods": "PUT" if _UPLOAD_PATH.fullmatch(path) else _ALLOWED_METHODS,
            "access-control-allow-headers": _ALLOWED_HEADERS + also,
            "access-control-max-age": "600",
        },
    )


def _opened(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def opened(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["access-control-allow-origin"] = "*"
            headers["access-control-expose-headers"] = _EXPOSED_HEADERS
        await send(message)

    return opened
