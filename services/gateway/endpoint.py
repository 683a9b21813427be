"""One path of a contract: its methods, the API key before them, the caller around them."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.auth import Authenticator, read_api_key
from services.gateway.domain import Client
from services.mesh.identity import calling_as

Handler = Callable[[Request, Client], Awaitable[ASGIApp]]
OpenHandler = Callable[[Request], Awaitable[Response]]
Precheck = Callable[[Request], None]


def _nothing_to_check(request: Request) -> None:
    """Most requests are refused for nothing before their key is known."""


class Endpoint:
    """Authenticates, then answers as the client. `precheck` refuses on the head alone, before the key is looked at."""

    def __init__(
        self, name: str, handlers: Mapping[str, Handler], authenticator: Authenticator, precheck: Precheck = _nothing_to_check
    ) -> None:
        self._name = name
        self._handlers = dict(handlers)
        self._authenticator = authenticator
        self._precheck = precheck

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["route"] = self._name
        request = Request(scope, receive, send)
        self._precheck(request)
        client = await self._authenticator.resolve(read_api_key(scope["headers"]))
        scope["state"]["client"] = client
        with calling_as(client.caller):
            method = "GET" if request.method == "HEAD" else request.method
            response = await self._handlers[method](request, client)
            await response(scope, receive, send)


class OpenEndpoint:
    """Answers anybody."""

    def __init__(self, name: str, handler: OpenHandler) -> None:
        self._name = name
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["route"] = self._name
        response = await self._handler(Request(scope, receive, send))
        await response(scope, receive, send)


def open_route(path: str, handler: OpenHandler) -> Route:
    """A GET route without authentication."""
    return Route(path, OpenEndpoint(path, handler), methods=["GET"])
