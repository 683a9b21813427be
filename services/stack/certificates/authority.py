"""An authority of one's own, and the leaves that it signs."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_DAYS = 3650
_NAME = "Steno development authority"
# Clocks differ.
_BEFORE = timedelta(minutes=5)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Authority:
    """Who signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def issue(self, names: Sequence[x509.GeneralName], subject: str, starts: datetime, days: float | None) -> Issued:
        """A leaf for client and server. days: None for as long as the authority lasts."""
        key = ec.generate_private_key(ec.SECP256R1())
        last = self.certificate.not_valid_after_utc
        ends = last if days is None else min(last, starts + timedelta(days=days))
        builder = x509.CertificateBuilder(self.certificate.subject, _named(subject), key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(min(starts, ends) - _BEFORE).not_valid_after(ends)
        for extension, critical in self._extensions(names):
            builder = builder.add_extension(extension, critical)
        return Issued(_pem(builder.sign(self.key, hashes.SHA256())), _key_pem(key))

    def _extensions(self, names: Sequence[x509.GeneralName]) -> Iterable[tuple[x509.ExtensionType, bool]]:
        yield x509.SubjectAlternativeName(names), False
        yield x509.BasicConstraints(ca=False, path_length=None), True
        yield _usage(signs_certificates=False), True
        yield x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False
        yield x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate is one of its own."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True

    def written(self) -> Issued:
        """Itself, to be kept."""
        return Issued(_pem(self.certificate), _key_pem(self.key))


def new_authority(starts: datetime) -> Authority:
    """One that lasts ten years and signs leaves alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(_named(_NAME), _named(_NAME), key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(starts - _BEFORE).not_valid_after(starts + timedelta(days=_AUTHORITY_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    builder = builder.add_extension(_usage(signs_certificates=True), True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def read_authority(issued: Issued) -> Authority:
    """One that was kept. Raises ValueError."""
    key = serialization.load_pem_private_key(issued.key, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is not one of an elliptic curve")  # noqa: TRY004 (a file with the wrong content)
    return Authority(x509.load_pem_x509_certificate(issued.certificate), key)


def names_of(uri: str, hosts: Iterable[str]) -> list[x509.GeneralName]:
    """What a leaf is for: its URI, host names and addresses."""
    return [x509.UniformResourceIdentifier(uri), *map(_host_name, dict.fromkeys(hosts))]


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
