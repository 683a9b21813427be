"""A folder of certificates: DIR/<identity>/{tls.crt,tls.key,ca.crt}, and the authority in DIR/authority."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from services.mesh.tls.certificates import Certificates
from services.mesh.tls.identity import identity_of_uris
from services.mesh.tls.material import Files
from services.stack.certificates.authority import Authority, Issued, names_of, new_authority, read_authority
from services.stack.data_directory import write_private

IDENTITIES = ("gateway", "jobs", "billing", "storage", "inference", "operator", "nats", "triton")
TRUST_DOMAIN = "steno"
DAYS = 30.0
_HOSTS = ("localhost", "127.0.0.1", "::1")
# tritonserver reads its certificate once, when it starts.
_AS_LONG_AS_THE_AUTHORITY = frozenset({"triton"})
_LEFT_SHARE = 1 / 3


@dataclass(frozen=True)
class CertificateFolder:
    """One authority's certificates below `root`."""

    root: Path

    def of(self, identity: str) -> "CertificatePaths":
        """Where those of one identity lie, whether they do or not."""
        return CertificatePaths(self.root / identity)

    def open(self, identity: str, trust_domain: str = TRUST_DOMAIN) -> Certificates:
        """What to call as this identity with. Raises CertificateUnusable."""
        return Certificates.read(self.of(identity).files(trust_domain))

    def authority(self, now: datetime) -> Authority:
        """The authority, made when there is none. Raises OSError, ValueError."""
        certificate, key = self.root / "authority" / "ca.crt", self.root / "authority" / "ca.key"
        if certificate.exists():
            return read_authority(Issued(certificate.read_bytes(), key.read_bytes()))
        made = new_authority(now)
        certificate.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(key, made.written().key.decode())
        write_private(certificate, made.written().certificate.decode())
        return made


@dataclass(frozen=True)
class CertificatePaths:
    """The three files of one identity."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        return self.folder / "tls.key"

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    def files(self, trust_domain: str = TRUST_DOMAIN) -> Files:
        """As `Certificates` reads them."""
        return Files(self.certificate, self.key, self.authority, trust_domain)

    def environment(self, prefix: str) -> Mapping[str, str]:
        """The same, as variables. prefix: of the service's settings."""
        files = {"CERTIFICATE": self.certificate, "KEY": self.key, "AUTHORITY": self.authority}
        return {f"{prefix}TLS_{name}_FILE": str(path) for name, path in files.items()}

    def write(self, leaf: Issued, authority: bytes) -> None:
        """Each file as a whole; who reads them in between sees that they do not fit. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self.authority, authority.decode())
        write_private(self.key, leaf.key.decode())
        write_private(self.certificate, leaf.certificate.decode())


def make_certificates(
    folder: CertificateFolder,
    identities: Sequence[str] = IDENTITIES,
    *,
    hosts: Sequence[str] = (),
    days: float = DAYS,
    trust_domain: str = TRUST_DOMAIN,
    anew: bool = False,
    now: datetime | None = None,
) -> list[str]:
    """Make what is missing and renew what is due; whose were made. Raises OSError, ValueError, CertificateRefused for no identity.

    hosts: names beside localhost that servers are called by. anew: all of them, due or not.
    """
    moment = now or datetime.now(UTC)
    authority = folder.authority(moment)
    made = []
    for identity in identities:
        paths, uri = folder.of(identity), f"spiffe://{trust_domain}/{identity}"
        identity_of_uris([uri], trust_domain)
        kept = _read(paths, authority)
        names = names_of(uri, [*_HOSTS, *hosts])
        names += [name for name in _names(kept) if name not in names and not isinstance(name, x509.UniformResourceIdentifier)]
        if anew or kept is None or _is_due(kept, moment) or set(names) != set(_names(kept)):
            leaf = authority.issue(names, identity, moment, None if identity in _AS_LONG_AS_THE_AUTHORITY else days)
            paths.write(leaf, authority.written().certificate)
            made.append(identity)
    return made


def _read(paths: CertificatePaths, authority: Authority) -> x509.Certificate | None:
    """What lies there; None unless the authority signed it."""
    if not (paths.certificate.exists() and paths.key.exists() and paths.authority.exists()):
        return None
    try:
        found = x509.load_pem_x509_certificate(paths.certificate.read_bytes())
    except ValueError:
        return None
    return found if authority.signed(found) else None


def _names(certificate: x509.Certificate | None) -> list[x509.GeneralName]:
    return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) if certificate else []


def _is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """A third before the end."""
    whole = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - now < whole * _LEFT_SHARE
