"""Whose certificate a call came with, and whether that service may make it."""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import grpc
from cryptography import x509

from services.mesh.errors import CertificateRefused, InvalidCallerToken, ServiceNotAllowed
from services.mesh.identity import Caller
from services.mesh.tls.identity import CLIENT, identity_of_certificate, identity_of_uris, role_of

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Peers:
    """The other sides of a server whose clients show certificates."""

    def __init__(self, trust_domain: str) -> None:
        self._trust_domain = trust_domain

    def identify(self, context: Context) -> str:
        """The identity in the certificate of the call. Raises CertificateRefused."""
        shown: Mapping[str, Iterable[bytes]] = context.auth_context()
        return identity_of_uris([uri.decode("ascii", "replace") for uri in shown.get("peer_uri", ())], self._trust_domain)


def check_callers(identity: str, callers: frozenset[str]) -> None:
    """Raises ServiceNotAllowed unless the method names this service among its callers."""
    if role_of(identity) not in callers:
        raise ServiceNotAllowed(service=identity)


def check_issuer(identity: str, caller: Caller) -> None:
    """Raises InvalidCallerToken unless the service that signed the token sent it; clients sign none."""
    if caller.service != identity or role_of(identity) == CLIENT:
        raise InvalidCallerToken


def admit_roles(trust_domain: str, roles: frozenset[str]) -> Callable[[asyncio.BaseTransport], bool]:
    """Whether the certificate that a connection came with is for one of these, for servers that are not gRPC's."""

    def admitted(connection: asyncio.BaseTransport) -> bool:
        spoken: ssl.SSLObject | None = connection.get_extra_info("ssl_object")
        shown = spoken.getpeercert(binary_form=True) if spoken else None
        try:
            return shown is not None and role_of(identity_of_certificate(x509.load_der_x509_certificate(shown), trust_domain)) in roles
        except (CertificateRefused, ValueError):
            return False

    return admitted
