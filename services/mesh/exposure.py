"""What others could read or reach: words in plain text, and a way out that leads inside.

What never leaves the machine, over loopback or a Unix socket, needs no encryption to a server that is not the mesh's own.
"""

import os
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from services.mesh.egress.settings import NetworkPolicySettings
from services.mesh.settings import DatabaseSettings, ServiceSettings
from services.mesh.tls.settings import tls_problems
from services.mesh.weaknesses import Weakness, Web, marked, variable_name

_ENCRYPTED_MODES = ("require", "verify-ca", "verify-full")
# Wider than a network of one's own is: 10.0.0.0/8 and fc00::/7 are the widest private ones.
_WIDEST_PREFIX = {4: 8, 6: 7}
_NEVER_ALLOWED = tuple(ip_network(text) for text in ("127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10"))


def exposure_weaknesses(settings: ServiceSettings) -> Iterator[Weakness]:
    """Everything of a service that is open to others."""
    for sentence in tls_problems(settings):
        yield Weakness(
            f"{sentence}; `steno certs dev` makes certificates to try it, docs/security.md tells of others", "plaintext_services"
        )
    if isinstance(settings, DatabaseSettings):
        yield from _of_database(settings, os.environ)
    for name, _, url in marked(settings, Web):
        if urlsplit(url).scheme == "http" and not _is_local(urlsplit(url).hostname or ""):
            yield Weakness(f"{name} is not https: what is sent there goes in plain text; use https", "plaintext_web")
    if isinstance(settings, NetworkPolicySettings):
        yield from _of_egress(settings)


def _of_database(settings: DatabaseSettings, environment: Mapping[str, str]) -> Iterator[Weakness]:
    # Imported here: it takes memory, and only services with a database come by.
    from sqlalchemy.engine import make_url

    url = make_url(settings.database_url)
    if url.get_backend_name() != "postgresql":
        return
    given = url.query.get("host") or url.host or environment.get("PGHOST") or ""
    # After an @ of a password that is not written as %40 the host is what follows the last one.
    hosts = [host.rpartition("@")[2] for part in ([given] if isinstance(given, str) else given) for host in part.split(",")]
    mode = url.query.get("sslmode") or environment.get("PGSSLMODE")
    if mode not in _ENCRYPTED_MODES and not all(_is_local(host) for host in hosts):
        name = variable_name(settings, "database_url")
        yield Weakness(f"{name} allows plain text to {','.join(hosts)}; add ?sslmode=verify-full&sslrootcert=FILE", "plaintext_database")


def _is_local(host: str) -> bool:
    """Whether the host is this machine: loopback, or a folder of sockets, which libpq also takes when no host is given."""
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _of_egress(settings: NetworkPolicySettings) -> Iterator[Weakness]:
    name = variable_name(settings, "egress_allowed_networks")
    for network in settings.network_policy().allowed_networks:
        if network.prefixlen < _WIDEST_PREFIX[network.version]:
            yield Weakness(
                f"{name} opens {network}, far more than a network of yours; name the networks that URLs may lead to", "open_egress"
            )
        elif any(_overlap(network, never) for never in _NEVER_ALLOWED):
            yield Weakness(
                f"{name} opens {network}, where this machine or its metadata service answers; name other networks", "open_egress"
            )


def _overlap(network: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return network.version == other.version and network.overlaps(other)
