"""A certificate with its key and authorities, read at one moment and proven to work together."""

import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from services.mesh.errors import CertificateRefused
from services.mesh.settings import UnusableSettings
from services.mesh.tls.identity import identity_of_certificate

_ROUNDS = 8


class CertificateUnusable(UnusableSettings):
    """The files cannot be used together; the message says why."""


@dataclass(frozen=True)
class Files:
    """Where certificate, key and authorities lie, and the trust domain that they are of."""

    certificate: Path
    key: Path
    authority: Path
    trust_domain: str

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Certificate chain, key and authorities, PEM. Raises CertificateUnusable."""
        try:
            return self.certificate.read_bytes(), self.key.read_bytes(), self.authority.read_bytes()
        except OSError as error:
            raise CertificateUnusable(f"{error.filename}: {error.strerror}") from error


@dataclass(frozen=True, eq=False)
class Material:
    """What was read, and what speaks with it. downloads: trusts the machine's authorities too; None unless asked for."""

    content: tuple[bytes, bytes, bytes]
    identity: str
    ends: datetime
    server: ssl.SSLContext
    client: ssl.SSLContext
    downloads: ssl.SSLContext | None


def read_material(files: Files, *, downloads: bool = False) -> Material:
    """Read and prove. Raises CertificateUnusable, also when the files change meanwhile.

    downloads: make that context too, which reads some hundred authorities.
    """
    content = files.read()
    try:
        leaf = x509.load_pem_x509_certificate(content[0])
        identity = identity_of_certificate(leaf, files.trust_domain)
        server, client = (_context(files, content[2], protocol) for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT))
        _prove(server, client)
        wide = _context(files, content[2], ssl.PROTOCOL_TLS_CLIENT) if downloads else None
    except CertificateRefused as error:
        raise CertificateUnusable(f"{files.certificate} must name one URI, spiffe://{files.trust_domain}/SERVICE") from error
    except (ssl.SSLError, ValueError) as error:
        raise CertificateUnusable(f"{files.certificate} cannot be used with {files.key} and {files.authority}: {error}") from error
    if files.read() != content:
        raise CertificateUnusable(f"{files.certificate} is being changed")
    if wide is not None:
        wide.load_default_certs()
    return Material(content, identity, leaf.not_valid_after_utc, server, client, wide)


def _context(files: Files, authority: bytes, protocol: int) -> ssl.SSLContext:
    """For serving or calling. Raises ssl.SSLError, ValueError."""
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(cadata=authority.decode("ascii"))
    return context


def _prove(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Shake hands with oneself: the key fits, the chain leads to the authority, today lies in its time. Raises ssl.SSLError."""
    client.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    try:
        for _ in range(_ROUNDS):
            sides = [side for side in sides if not _shook_hands(side)]
    finally:
        client.check_hostname = True
    if sides:
        raise ssl.SSLError("the handshake with itself does not end")


def _shook_hands(side: ssl.SSLObject) -> bool:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True
