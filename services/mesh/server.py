"""The gRPC server of a service: health, reflection, limits, and the gatekeeper before every method."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.mesh.identity import TokenVerifier
from services.mesh.interceptors import Authenticate, Gatekeeper, read_rules
from services.mesh.settings import ServiceSettings, UnusableSettings
from services.mesh.tls.certificates import Certificates
from services.mesh.tls.peers import Peers

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
# Names as the core library spells them: the widely copied min_recv_ping_interval… is ignored by it.
_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.max_concurrent_streams", 256),
    ("grpc.so_reuseport", 0),
    # A channel looks its server's name up again when a connection ends: so replicas that came later get their share.
    ("grpc.max_connection_age_ms", 300_000),
]
# What channels watch. A service that is not well still takes calls, and says what is wrong; one that leaves is to get no new ones.
TRAFFIC = "steno.mesh.Traffic"
# A hundredth of the grace period, which is 0.1 s of the usual ten.
_QUIET_SHARE = 0.01
_LONGEST_QUIET_SECONDS = 0.1
_MOST_QUIET_TURNS = 20


@dataclass(frozen=True)
class Registration:
    """One gRPC service: its generated `add_…_to_server`, its implementation, its descriptor."""

    add: Callable[[Any, grpc.aio.Server], None]
    servicer: Any
    service: ServiceDescriptor


@dataclass(frozen=True)
class GrpcServer:
    """A serving server; `services` are the full names of what it serves."""

    port: int
    health: health.aio.HealthServicer
    services: tuple[str, ...]


@asynccontextmanager
async def open_server(
    settings: ServiceSettings,
    verifier: TokenVerifier,
    *,
    authenticate: Authenticate | None,
    servicers: Sequence[Registration],
    tls: Certificates | None = None,
) -> AsyncIterator[GrpcServer]:
    """Serve until left; then NOT_SERVING, callers turn away, calls in hand finish within the grace period.

    Raises OSError when the port is taken.
    """
    rules = read_rules([item.service for item in servicers])
    gatekeeper = Gatekeeper(rules, verifier, authenticate, Peers(tls.trust_domain) if tls else None)
    server = grpc.aio.server(interceptors=[gatekeeper], options=_OPTIONS, maximum_concurrent_rpcs=1024)
    for item in servicers:
        item.add(item.servicer, server)
    names = [item.service.full_name for item in servicers]
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    port = _bind(server, settings, tls)
    await server.start()
    for name in ["", TRAFFIC, *names]:
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        yield GrpcServer(port, health_servicer, tuple(names))
    finally:
        await health_servicer.enter_graceful_shutdown()
        await _quiet(gatekeeper, min(settings.shutdown_grace_seconds * _QUIET_SHARE, _LONGEST_QUIET_SECONDS))
        await server.stop(settings.shutdown_grace_seconds)


async def _quiet(gatekeeper: Gatekeeper, seconds: float) -> None:
    """Until no call has come for a moment: the core library cancels those that nobody has taken yet when its server stops."""
    for _ in range(_MOST_QUIET_TURNS):
        before = gatekeeper.calls
        await asyncio.sleep(seconds)
        if gatekeeper.calls == before:
            return


def _bind(server: grpc.aio.Server, settings: ServiceSettings, tls: Certificates | None) -> int:
    address = f"{settings.host}:{settings.port}"
    if tls is None and settings.tls_files:
        raise UnusableSettings("certificates are named and not used: this service would answer in plain text")
    try:
        return server.add_secure_port(address, tls.server_credentials()) if tls else server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: is the port taken?") from error
