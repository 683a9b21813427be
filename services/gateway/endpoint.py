"""One path of a contract: who asks, may they, how often; then the operation of the method answers as the client."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import groupby

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route, compile_path
from starlette.types import Receive, Scope, Send

from services.gateway.contract import Contract
from services.gateway.domain import Client
from services.gateway.operation import OpenHandler, OpenOperation, Operation, RateKind
from services.mesh.edge.limits import welcome
from services.mesh.identity import calling_as

Identify = Callable[[Request], Awaitable[Client]]
TakeRate = Callable[[Request, str, RateKind, Client], Awaitable[None]]


class Endpoint:
    """Identifies, checks scope and rate, then answers as the client."""

    def __init__(self, contract: Contract, operations: Mapping[str, Operation], identify: Identify, take_rate: TakeRate) -> None:
        self._contract = contract
        self._operations = dict(operations)
        self._identify = identify
        self._take_rate = take_rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        operation = self._operations["GET" if request.method == "HEAD" else request.method]
        scope["state"]["route"] = f"{self._contract.name}{operation.path}"
        if operation.precheck is not None:
            operation.precheck(request)
        client = await self._identify(request)
        scope["state"]["client"] = client
        welcome(scope)
        client.caller.check_scope(operation.needed_scope)
        await self._take_rate(request, self._contract.counted_as or self._contract.name, operation.rate, client)
        with calling_as(client.caller):
            response = await operation.handler(request, client)
            await response(scope, receive, send)


class OpenEndpoint:
    """Answers anybody."""

    def __init__(self, name: str, handlers: Mapping[str, OpenHandler]) -> None:
        self._name = name
        self._handlers = dict(handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["route"] = self._name
        request = Request(scope, receive, send)
        response = await self._handlers["GET" if request.method == "HEAD" else request.method](request)
        await response(scope, receive, send)


class _Refused:
    """What a path says to the methods that it does not have."""

    def __init__(self, methods: Sequence[str]) -> None:
        self._allow = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(405, headers={"Allow": self._allow})


def open_route(path: str, handler: OpenHandler) -> Route:
    """A GET route without authentication that belongs to no contract."""
    return Route(path, OpenEndpoint(path, {"GET": handler}), methods=["GET"])


def contract_routes(contract: Contract, identify: Identify, take_rate: TakeRate) -> Iterator[Route]:
    """Every path of a contract, under every prefix that it is mounted at."""
    for path, operations in groupby(sorted(contract.operations, key=_place), key=lambda operation: operation.path):
        endpoint = _endpoint(contract, path, list(operations), identify, take_rate)
        methods = [operation.method for operation in contract.operations if operation.path == path]
        for prefix in contract.prefixes:
            yield Route(prefix + path, endpoint, methods=methods)
            if _hides_behind(path, contract):
                yield Route(prefix + path, _Refused(methods))


def _hides_behind(path: str, contract: Contract) -> bool:
    """Whether a path also looks like one with more parameters, whose methods are not its own."""
    others = {operation.path for operation in contract.operations if "{" in operation.path and operation.path != path}
    return any(compile_path(other)[0].match(path) and not compile_path(path)[0].match(other) for other in others)


def _place(operation: Operation | OpenOperation) -> tuple[bool, str]:
    """Fixed paths before those with parameters, so that /jobs/claim is no job's id."""
    return "{" in operation.path, operation.path


def _endpoint(
    contract: Contract, path: str, operations: Sequence[Operation | OpenOperation], identify: Identify, take_rate: TakeRate
) -> Endpoint | OpenEndpoint:
    closed = {operation.method: operation for operation in operations if isinstance(operation, Operation)}
    if closed:
        return Endpoint(contract, closed, identify, take_rate)
    return OpenEndpoint(
        f"{contract.name}{path}", {operation.method: operation.handler for operation in operations if isinstance(operation, OpenOperation)}
    )
