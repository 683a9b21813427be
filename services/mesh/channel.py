"""Channels to other services: deadlines, retries, caller tokens, errors as RemoteError."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self, TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.mesh import semconv
from services.mesh.identity import TOKEN_METADATA_KEY, TokenSigner, caller_or_none
from services.mesh.interceptors import REQUEST_ID_METADATA_KEY, deadline, request_id
from services.mesh.server import MAX_MESSAGE_BYTES, TRAFFIC
from services.mesh.status import from_rpc_error
from services.mesh.tls.certificates import Certificates
from services.mesh.tls.channel import make_channel
from services.mesh.tracing.calls import traced_call, traced_stream
from services.mesh.tracing.spans import current_headers

Metadata: TypeAlias = tuple[tuple[str, str], ...]

STREAM_TIMEOUT_SECONDS = 3600.0
_MARGIN_SECONDS = 0.05
_RETRY_POLICY = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    # A server that stops cancels calls that it has not taken up.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}


def _options(services: Sequence[ServiceDescriptor]) -> list[tuple[str, Any]]:
    retried = [
        {"service": service.full_name, "method": method.name}
        for service in services
        for method in service.methods
        if method.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN
    ]
    config = {
        "methodConfig": [{"name": retried, "retryPolicy": _RETRY_POLICY}] if retried else [],
        "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.5},
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": TRAFFIC},
    }
    return [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.enable_retries", 1),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.ping_timeout_ms", 5_000),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # How long one attempt to connect may take, not how long to wait between two: a busy machine needs more than the waits here.
        ("grpc.min_reconnect_backoff_ms", 3_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ]


class Channel(grpc.aio.Channel):
    """A gRPC channel whose calls carry a deadline and a caller token, and raise RemoteError.

    A wrapper instead of client interceptors: grpc.aio's raise again, unseen, when they are collected, and cost a task a call.
    """

    def __init__(self, channel: grpc.aio.Channel, audience: str, signer: TokenSigner, timeout_seconds: float) -> None:
        self._channel = channel
        self._audience = audience
        self._signer = signer
        self._timeout_seconds = timeout_seconds

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        """One request, one response. Raises RemoteError."""
        send = self._channel.unary_unary(method, *arguments, **options)

        async def call(request: Any, *, timeout: float | None = None, metadata: Metadata = ()) -> Any:
            try:
                with _timed(self._audience, method):
                    return await send(request, timeout=_remaining(timeout or self._timeout_seconds), metadata=self._metadata(metadata))
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from None

        return traced_call(call, method, self._audience)

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """One request, many responses; the call ends with the iterator. Raises RemoteError."""
        send = self._channel.unary_stream(method, *arguments, **options)

        # Not a generator itself: the caller and the deadline are those of the call, not of the first iteration.
        def call(request: Any, *, timeout: float | None = None, metadata: Metadata = ()) -> AsyncIterator[Any]:
            stream = send(request, timeout=_remaining(timeout or STREAM_TIMEOUT_SECONDS), metadata=self._metadata(metadata))
            return _translated(stream, self._audience, method)

        return traced_stream(call, method, self._audience)

    def _metadata(self, extra: Metadata) -> Metadata:
        extra = (*extra, *current_headers())
        caller = self._signer.outgoing(caller_or_none())
        token = (TOKEN_METADATA_KEY, self._signer.mint(caller, self._audience))
        request = request_id.get()
        return (*extra, token, (REQUEST_ID_METADATA_KEY, request)) if request else (*extra, token)

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Passed through: no service of the mesh takes a stream of requests."""
        return self._channel.stream_unary(method, *arguments, **options)

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Passed through: no service of the mesh takes a stream of requests."""
        return self._channel.stream_stream(method, *arguments, **options)

    async def close(self, grace: float | None = None) -> None:
        """Close, cancelling calls still in hand after the grace period."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Connectivity of the channel."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the connectivity differs."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the channel is connected."""
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()


async def _translated(stream: Any, peer: str, method: str) -> AsyncIterator[Any]:
    try:
        with _timed(peer, method):
            async for response in stream:
                yield response
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from None
    finally:
        stream.cancel()


@contextmanager
def _timed(peer: str, method: str) -> Iterator[None]:
    """Note how long a call took and how it ended, as its caller saw it. A stream that is left early counts as cancelled."""
    started, code = time.perf_counter(), grpc.StatusCode.OK
    try:
        yield
    except grpc.aio.AioRpcError as error:
        code = error.code()
        raise
    except (asyncio.CancelledError, GeneratorExit):
        code = grpc.StatusCode.CANCELLED
        raise
    except Exception:
        code = grpc.StatusCode.UNKNOWN
        raise
    finally:
        semconv.RPC_CLIENT_SECONDS.labels(peer, method, code.name).observe(time.perf_counter() - started)


def _remaining(seconds: float) -> float:
    until = deadline.get()
    if until is None:
        return seconds
    return max(0.001, min(seconds, until - time.monotonic() - _MARGIN_SECONDS))


@asynccontextmanager
async def open_channel(
    address: str,
    *,
    audience: str,
    signer: TokenSigner,
    services: Sequence[ServiceDescriptor] = (),
    timeout_seconds: float = 5.0,
    tls: Certificates | None = None,
) -> AsyncIterator[Channel]:
    """A channel to one service, named by `audience` in caller tokens.

    Calls get a deadline of `timeout_seconds` unless given one, never past the RPC in hand; methods that `services`
    declare idempotent are retried while the service is unavailable. Refusals raise RemoteError.
    """
    async with Channel(make_channel(address, _options(services), tls), audience, signer, timeout_seconds) as channel:
        yield channel


async def check_health(channel: grpc.aio.Channel, timeout_seconds: float = 2.0) -> bool:
    """True when the service behind the channel says SERVING. Raises RemoteError when it does not answer."""
    stub = health_pb2_grpc.HealthStub(channel)
    answer: health_pb2.HealthCheckResponse = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_seconds)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
