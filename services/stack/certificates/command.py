"""The command `steno certs dev`."""

from collections.abc import Sequence
from pathlib import Path

from services.client.failures import CommandFailed
from services.mesh.errors import CertificateRefused
from services.stack.certificates.folder import IDENTITIES, CertificateFolder, make_certificates


def run_certs_dev(out: Path, *, hosts: Sequence[str], clients: Sequence[str], days: float, trust_domain: str, anew: bool) -> None:
    """Make or renew the certificates of a development mesh, and say whose. Raises CommandFailed."""
    identities = [*IDENTITIES, *(f"client/{name}" for name in clients)]
    try:
        made = make_certificates(CertificateFolder(out), identities, hosts=hosts, days=days, trust_domain=trust_domain, anew=anew)
    except CertificateRefused as error:
        raise CommandFailed("Names of clients and trust domains are made of letters, digits, hyphens, dots and underscores.") from error
    except (OSError, ValueError) as error:
        raise CommandFailed(f"The certificates cannot be made: {error}") from error
    print(f"{out}: {', '.join(made) or 'nothing'} renewed; trust {out / 'authority' / 'ca.crt'}")
