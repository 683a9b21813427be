"""Whom a certificate is for: exactly one URI, spiffe://<trust domain>/<service>."""

import re
from collections.abc import Sequence

from cryptography import x509

from services.mesh.errors import CertificateRefused

# A client of another team; what follows is its name.
CLIENT = "client"
_PATH = re.compile(r"[a-z0-9-]+(/[A-Za-z0-9._-]+)?")


def identity_of_uris(uris: Sequence[str], trust_domain: str) -> str:
    """The service, such as `jobs` or `client/billing-team`. Raises CertificateRefused for none, several or another trust domain."""
    start = f"spiffe://{trust_domain}/"
    if len(uris) != 1 or not uris[0].startswith(start) or not _PATH.fullmatch(uris[0][len(start) :]):
        raise CertificateRefused
    return uris[0][len(start) :]


def identity_of_certificate(certificate: x509.Certificate, trust_domain: str) -> str:
    """The same, of a certificate. Raises CertificateRefused."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise CertificateRefused from error
    return identity_of_uris(names.get_values_for_type(x509.UniformResourceIdentifier), trust_domain)


def role_of(identity: str) -> str:
    """What the method table calls it: all clients are one role."""
    return identity.partition("/")[0]
