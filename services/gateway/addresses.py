"""Which address a request comes from, when proxies that the operator trusts stand in between."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import Request
from starlette.types import Scope

_FORWARDED = b"x-forwarded-for"
_FORWARDED_SCHEME = b"x-forwarded-proto"
_SCHEMES = (b"http", b"https")
_UNKNOWN = "unknown"


class TrustedProxies:
    """Believes X-Forwarded-For as far as trusted proxies wrote it, and not a word of it from anybody else."""

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)

    def client_address(self, scope: Scope) -> str:
        """The nearest address that is no trusted proxy's; an IPv6 client counts by its /64."""
        peer = scope.get("client")
        address = _parsed(peer[0]) if peer else None
        hops = [hop for name, value in scope["headers"] if name == _FORWARDED for hop in value.decode("latin-1").split(",")]
        while address is not None and hops and self._trusts(address):
            address = _parsed(hops.pop())
        return _group(address) if address is not None else _UNKNOWN

    def origin(self, request: Request) -> str:
        """Where the client reached this server: "https://api.example.com"; the scheme is what a trusted proxy says it was."""
        origin = request.base_url
        peer = request.scope.get("client")
        address = _parsed(peer[0]) if peer else None
        said = [value.lower() for name, value in request.scope["headers"] if name == _FORWARDED_SCHEME]
        if address is not None and self._trusts(address) and len(said) == 1 and said[0] in _SCHEMES:
            origin = origin.replace(scheme=said[0].decode())
        return f"{origin.scheme}://{origin.netloc}"

    def _trusts(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip().strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _group(address: IPv4Address | IPv6Address) -> str:
    """Whoever has one IPv6 address usually has 2**64 of them."""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((address, 64), strict=False).network_address)
