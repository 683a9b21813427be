"""What happens around every request, as plain ASGI: its id, its log line, errors as answers, CORS."""

import re
import time
import uuid
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from services.mesh import semconv
from services.mesh.interceptors import request_id
from services.mesh.telemetry import get_logger

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ALLOWED_METHODS = "GET, POST"
_ALLOWED_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-API-Key, X-Claim-Token, X-Guest-Token, X-Request-Id, X-User-Email"
)
_EXPOSED_HEADERS = "Retry-After, X-Idempotent-Replay, X-Request-Id"
_CLIENT_GONE_STATUS = 499

ErrorRenderer = Callable[[Scope, Exception], Response]


class RequestContext:
    """Gives a request its id, its canonical log line and its metrics; closes a connection whose body stays unread."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._logger = get_logger("gateway.http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        request_id.set(exchange.request_id)
        with bound_contextvars(request_id=exchange.request_id):
            try:
                await self._app(scope, exchange.receive, exchange.send)
            finally:
                self._record(scope, exchange)

    def _record(self, scope: Scope, exchange: "_Exchange") -> None:
        seconds = time.perf_counter() - exchange.started
        route = scope["state"].get("route", "unknown")
        status = exchange.status or _CLIENT_GONE_STATUS
        semconv.HTTP_SECONDS.labels(route, _known_method(scope["method"]), str(status)).observe(seconds)
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


class _Exchange:
    """One request and its answer, passing by."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        asked = headers.get("x-request-id", "")
        self.request_id = asked if _REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex
        self.status = 0
        self.started = time.perf_counter()
        self._receive = receive
        self._send = send
        self._unread = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers

    async def receive(self) -> Message:
        message = await self._receive()
        self._unread = self._unread and message["type"] == "http.request" and bool(message.get("more_body"))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            extra = [(b"x-request-id", self.request_id.encode()), (b"x-content-type-options", b"nosniff")]
            if self._unread:
                extra.append((b"connection", b"close"))
            message["headers"] = [*message["headers"], *extra]
        await self._send(message)


def _known_method(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH", "PUT") else "other"


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
    """Opens the API to browsers of any origin for GET and POST, without credentials."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if "origin" not in headers:
            await self._app(scope, receive, send)
        elif scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            scope["state"]["route"] = "preflight"
            await _preflight()(scope, receive, send)
        else:
            await self._app(scope, receive, _opened(send))


def _preflight() -> Response:
    return Response(
        status_code=204,
        headers={
            "access-control-allow-origin": "*",
            "access-control-allow-methods": _ALLOWED_METHODS,
            "access-control-allow-headers": _ALLOWED_HEADERS,
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
