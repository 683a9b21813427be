"""A gRPC server with every method of the mesh, behind certificates."""

import importlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from cryptography import x509
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from joserfc.jwk import OKPKey

from services.mesh.identity import Caller, CallerKind, TokenVerifier
from services.mesh.server import Registration, open_server
from services.mesh.settings import ServiceSettings
from services.mesh.status import from_rpc_error
from services.mesh.tls.certificates import Certificates
from services.stack.certificates.authority import new_authority
from services.stack.certificates.folder import CertificateFolder
from steno.access.v1 import access_pb2

MODULES = {
    "billing": ("accounts_service", "billing_service", "payments_service"),
    "jobs": ("jobs_service", "detection_jobs_service", "work_service"),
    "storage": ("storage_service", "datasets_service"),
    "inference": ("inference_service",),
}
AUDIENCE = "billing"
API_KEY = "sk_test_1"


def _modules(suffix: str) -> Iterator[Any]:
    for package, names in MODULES.items():
        for name in names:
            yield importlib.import_module(f"steno.{package}.v1.{name}_{suffix}")


def descriptors() -> list[ServiceDescriptor]:
    """Every gRPC service of the mesh."""
    return [service for module in _modules("pb2") for service in module.DESCRIPTOR.services_by_name.values()]


def methods() -> list[MethodDescriptor]:
    """Every method of the mesh."""
    return [method for service in descriptors() for method in service.methods]


def path_of(method: MethodDescriptor) -> str:
    """As it is called."""
    return f"/{method.containing_service.full_name}/{method.name}"


def callers_of(method: MethodDescriptor) -> set[str]:
    """What the proto declares."""
    return set(method.GetOptions().Extensions[access_pb2.callers])


@dataclass
class World:
    """The server: what it was asked, and its certificate."""

    address: str
    key: OKPKey
    tls: Certificates
    handled: Counter[str] = field(default_factory=Counter)


def _servicer(service: ServiceDescriptor, handled: Counter[str]) -> Any:
    """One that answers every method with an empty message."""

    def make(method: MethodDescriptor) -> Any:
        answer = GetMessageClass(method.output_type)

        async def unary(_: Any, request: Any, context: Any) -> Any:
            handled[path_of(method)] += 1
            return answer()

        async def streaming(_: Any, request: Any, context: Any) -> AsyncIterator[Any]:
            handled[path_of(method)] += 1
            yield answer()

        return streaming if method.server_streaming else unary

    return type(service.name, (), {method.name: make(method) for method in service.methods})()


def _registrations(handled: Counter[str]) -> Sequence[Registration]:
    adders = {name: add for module in _modules("pb2_grpc") for name, add in vars(module).items() if name.startswith("add_")}
    return [Registration(adders[f"add_{one.name}Servicer_to_server"], _servicer(one, handled), one) for one in descriptors()]


@asynccontextmanager
async def open_world(tls: Certificates, key: OKPKey) -> AsyncIterator[World]:
    """The server, serving."""

    async def authenticate(secret: str) -> Caller:
        assert secret == API_KEY
        return Caller(CallerKind.KEY, AUDIENCE, "w", "workspace")

    handled: Counter[str] = Counter()
    settings = ServiceSettings(shutdown_grace_seconds=0.2)
    serving = open_server(settings, TokenVerifier(key, AUDIENCE), authenticate=authenticate, servicers=_registrations(handled), tls=tls)
    async with serving as server:
        yield World(f"127.0.0.1:{server.port}", key, tls, handled)


def credentials(folder: CertificateFolder, identity: str) -> grpc.ChannelCredentials:
    """What a program of that identity calls with, whatever its certificate is worth."""
    paths = folder.of(identity)
    return grpc.ssl_channel_credentials(paths.authority.read_bytes(), paths.key.read_bytes(), paths.certificate.read_bytes())


def issue(folder: CertificateFolder, place: str, uris: Sequence[str], *, days: float = 1, foreign: bool = False) -> None:
    """Put a certificate with these URIs in the folder. foreign: of another authority, which trusts this one's servers."""
    own = folder.authority(datetime.now(UTC))
    authority = new_authority(datetime.now(UTC)) if foreign else own
    names = [*map(x509.UniformResourceIdentifier, uris), x509.DNSName("localhost")]
    folder.of(place).write(authority.issue(names, place, datetime.now(UTC), days), own.written().certificate)


async def outcome(channel: grpc.aio.Channel, method: MethodDescriptor, metadata: Sequence[tuple[str, str]]) -> str:
    """OK, or the reason of the refusal."""
    request = GetMessageClass(method.input_type)().SerializeToString()
    raw: Any = channel
    try:
        if method.server_streaming:
            async for _ in raw.unary_stream(path_of(method))(request, metadata=metadata, timeout=20):
                pass
        else:
            await raw.unary_unary(path_of(method))(request, metadata=metadata, timeout=20)
    except grpc.aio.AioRpcError as error:
        refusal = from_rpc_error(error)
        return f"{error.code().name} {refusal.reason_name}"
    return "OK"
