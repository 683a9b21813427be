"""What happens around every RPC: who calls, may they, one log line, errors as statuses."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions

from services.mesh import semconv
from services.mesh.errors import AccessDenied, Internal, MeshError, MissingCredentials
from services.mesh.identity import API_KEY_METADATA_KEY, TOKEN_METADATA_KEY, Caller, CallerKind, Scope, TokenVerifier, calling_as
from services.mesh.status import code_of, reason_of, to_status
from services.mesh.telemetry import bound_contextvars, get_logger
from services.mesh.tls.peers import Peers, check_callers, check_issuer
from services.mesh.tracing.calls import begin_rpc, end_rpc, scoped
from services.mesh.tracing.spans import NOTHING, Span, tracer_or_none
from steno.access.v1 import access_pb2

Authenticate = Callable[[str], Awaitable[Caller]]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

REQUEST_ID_METADATA_KEY = "x-request-id"
_OPEN_PREFIX = "/grpc.health.v1.Health/"
_REFLECTION_PREFIX = "/grpc.reflection."

deadline: ContextVar[float | None] = ContextVar("steno_deadline", default=None)
request_id: ContextVar[str] = ContextVar("steno_request_id", default="")


@dataclass(frozen=True)
class Rule:
    """Who may call a method: numbers of the access proto. The default closes it to all.

    callers: whose certificates may, where there are any; None for each of the mesh.
    """

    access: int = access_pb2.ACCESS_UNSPECIFIED
    scope: Scope | None = Scope.ADMIN
    callers: frozenset[str] | None = frozenset()


_SCOPES = {access_pb2.SCOPE_READ: Scope.READ, access_pb2.SCOPE_WRITE: Scope.WRITE, access_pb2.SCOPE_ADMIN: Scope.ADMIN}


def read_rules(services: Sequence[ServiceDescriptor]) -> dict[str, Rule]:
    """The rule of every method by its full path, from the protos' method options."""
    return {f"/{service.full_name}/{method.name}": _rule(method) for service in services for method in service.methods}


def _rule(method: MethodDescriptor) -> Rule:
    options = method.GetOptions()
    access = options.Extensions[access_pb2.access]
    harmless = options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    usual = Scope.READ if harmless else Scope.WRITE
    scope = _SCOPES.get(options.Extensions[access_pb2.scope], usual if access == access_pb2.ACCESS_CALLER else None)
    return Rule(access, scope, frozenset(options.Extensions[access_pb2.callers]))


def check_access(caller: Caller, rule: Rule) -> None:
    """Raises AccessDenied unless the caller has at least this access, InsufficientScope when its scopes do not reach."""
    access = rule.access
    if access == access_pb2.ACCESS_CALLER:
        allowed = bool(caller.workspace_id)
    elif access == access_pb2.ACCESS_IDENTIFIED:
        allowed = True
    elif access == access_pb2.ACCESS_SERVICE:
        allowed = caller.kind in (CallerKind.SERVICE, CallerKind.OPERATOR)
    else:
        allowed = access == access_pb2.ACCESS_OPERATOR and caller.kind is CallerKind.OPERATOR
    if not allowed:
        raise AccessDenied
    if rule.scope is not None and access in (access_pb2.ACCESS_CALLER, access_pb2.ACCESS_IDENTIFIED):
        caller.check_scope(rule.scope)


_REFLECTION = Rule(access_pb2.ACCESS_CALLER, Scope.READ, callers=None)


class Gatekeeper(grpc.aio.ServerInterceptor):
    """Identifies the caller, enforces the method's access and turns errors into statuses. peers: None where calls are in plain text."""

    def __init__(
        self, rules: Mapping[str, Rule], verifier: TokenVerifier, authenticate: Authenticate | None, peers: Peers | None = None
    ) -> None:
        self._peers = peers
        self._rules = rules
        self._verifier = verifier
        self._authenticate = authenticate
        self._logger = get_logger("mesh.rpc").bind()
        self._tracer = tracer_or_none()
        self._guarded: dict[str, Handler] = {}
        # How many have come.
        self.calls = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method = handler_call_details.method
        self.calls += 1
        if (guarded := self._guarded.get(method)) is not None:
            return guarded
        handler = await continuation(handler_call_details)
        if handler is None or method.startswith(_OPEN_PREFIX):
            return handler
        # Only methods that exist get here, so that nobody can make this grow.
        self._guarded[method] = guarded = self._guard(handler, method)
        return guarded

    def _guard(self, handler: Handler, method: str) -> Handler:
        """The handler behind the gate; the same for every call of the method."""
        rule = _REFLECTION if method.startswith(_REFLECTION_PREFIX) else self._rules.get(method, Rule())
        if handler.response_streaming:
            return _streaming(handler, self._guard_stream(handler, method, rule))
        return grpc.unary_unary_rpc_method_handler(
            self._guard_unary(handler, method, rule), handler.request_deserializer, handler.response_serializer
        )

    async def _identify(self, rule: Rule, metadata: Mapping[str, str], context: Context) -> Caller:
        identity = self._peers.identify(context) if self._peers else ""
        if identity and rule.callers is not None:
            check_callers(identity, rule.callers)
        caller = await self._caller(metadata, identity)
        check_access(caller, rule)
        return caller

    async def _caller(self, metadata: Mapping[str, str], identity: str) -> Caller:
        if token := metadata.get(TOKEN_METADATA_KEY):
            caller = self._verifier.verify(token)
            if identity:
                check_issuer(identity, caller)
            return caller
        if (api_key := metadata.get(API_KEY_METADATA_KEY)) and self._authenticate is not None:
            return await self._authenticate(api_key)
        raise MissingCredentials

    def _begin(self, method: str, context: Context) -> "_Call":
        metadata = _text(context.invocation_metadata())
        return _Call(method, context, metadata, begin_rpc(self._tracer, method, metadata), self._logger)

    def _guard_unary(self, handler: Handler, method: str, rule: Rule) -> Callable[..., Awaitable[Any]]:
        behaviour: Any = handler.unary_unary

        async def guarded(request: Any, context: Context) -> Any:
            call = self._begin(method, context)
            with call.scope():
                try:
                    caller = call.caller = await self._identify(rule, call.metadata, context)
                    with calling_as(caller):
                        response = await behaviour(request, context)
                except asyncio.CancelledError:
                    call.finish(grpc.StatusCode.CANCELLED)
                    raise
                except Exception as error:
                    await call.refuse(error)
                call.finish(grpc.StatusCode.OK)
                return response

        return guarded

    def _guard_stream(self, handler: Handler, method: str, rule: Rule) -> Callable[..., Awaitable[None]]:
        behaviour: Any = handler.stream_stream if handler.request_streaming else handler.unary_stream

        # Not a generator: the handler of a cancelled call would be left to the garbage collector, with whatever it does.
        async def guarded(request: Any, context: Context) -> None:
            call = self._begin(method, context)
            with call.scope():
                try:
                    caller = call.caller = await self._identify(rule, call.metadata, context)
                    with calling_as(caller):
                        async with aclosing(behaviour(request, context)) as responses:
                            async for response in responses:
                                await context.write(response)
                except asyncio.CancelledError:
                    call.finish(grpc.StatusCode.CANCELLED)
                    raise
                except Exception as error:
                    await call.refuse(error)
                call.finish(grpc.StatusCode.OK)

        return guarded


def _text(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _streaming(handler: Handler, behaviour: Callable[..., Awaitable[None]]) -> Handler:
    make: Any = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
    wrapped: Handler = make(behaviour, handler.request_deserializer, handler.response_serializer)
    return wrapped


class _Call:
    """One RPC in hand: its deadline, its log line, its metrics, its span."""

    def __init__(self, method: str, context: Context, metadata: Mapping[str, str], span: Span, logger: Any) -> None:
        self.caller: Caller | None = None
        self.metadata = metadata
        self._span = span
        self._method = method
        self._request_id = self.metadata.get(REQUEST_ID_METADATA_KEY, "")
        self._context = context
        self._logger = logger
        self._started = time.perf_counter()

    def scope(self) -> Any:
        remaining = self._context.time_remaining()
        deadline.set(None if remaining is None else time.monotonic() + remaining)
        request_id.set(self._request_id)
        if self._span is NOTHING:
            return bound_contextvars(request_id=self._request_id)
        return scoped(self._span, request_id=self._request_id)

    async def refuse(self, error: Exception) -> None:
        """End the RPC with the error's status; the unexpected is logged once and told to nobody."""
        if isinstance(error, grpc.aio.AbortError):
            raise error
        if not isinstance(error, MeshError):
            self._logger.error("rpc failed", method=self._method, exc_info=error)
            error = Internal()
        self.finish(code_of(error), reason_of(error))
        await self._context.abort_with_status(to_status(error))

    def finish(self, code: grpc.StatusCode, reason: str = "") -> None:
        seconds = time.perf_counter() - self._started
        semconv.RPC_SECONDS.labels(self._method, code.name).observe(seconds)
        caller = self.caller
        end_rpc(self._span, self._method, code, reason, caller.workspace_id if caller else "")
        self._logger.info(
            "rpc",
            method=self._method,
            code=code.name,
            reason=reason,
            milliseconds=round(seconds * 1000, 2),
            caller=f"{caller.kind}:{caller.service}" if caller else "",
            workspace_id=caller.workspace_id if caller else "",
        )
