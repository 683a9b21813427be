"""Which addresses the mesh may connect to: an explicit table, because `is_global` calls NAT64, 6to4 and more global."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# IANA special-purpose registries, multicast, class E, and the one metadata service on a public address (168.63.129.16).
FORBIDDEN_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Only what is allocated as global unicast may pass; within it, what carries other addresses or none.
GLOBAL_IPV6 = IPv6Network("2000::/3")
FORBIDDEN_IPV6 = tuple(IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))

_LOW_32_BITS = tuple(
    IPv6Network(network)
    for network in (
        "::/96",  # IPv4-compatible, RFC 4291
        "::ffff:0:0/96",  # IPv4-mapped, RFC 4291
        "::ffff:0:0:0/96",  # IPv4-translated, RFC 7915
        "64:ff9b::/96",  # NAT64, RFC 6052
        "64:ff9b:1::/48",  # local NAT64 with the longest prefix, RFC 8215
    )
)
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_TEREDO = IPv6Network("2001::/32")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_ISATAP_MARKS = (0x00005EFE, 0x02005EFE)
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """What may be connected to: public addresses, and what the operator allows though it is not public."""

    allowed_networks: tuple[Network, ...] = ()

    def permits(self, address: Address) -> bool:
        """Whether the address, and every address that it carries within, may be connected to."""
        return all(is_public(layer) or self._allows(layer) for layer in (address, *embedded(address)))

    def _allows(self, address: Address) -> bool:
        return any(address in network for network in self.allowed_networks)


def read_policy(networks: Sequence[str]) -> NetworkPolicy:
    """The policy that allows these networks in CIDR notation. Raises ValueError."""
    return NetworkPolicy(tuple(ip_network(network.strip()) for network in networks))


def is_public(address: Address) -> bool:
    """Whether the address by itself, whatever it carries, belongs to the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in FORBIDDEN_IPV4)
    return address in GLOBAL_IPV6 and not any(address in network for network in FORBIDDEN_IPV6)


def embedded(address: Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to by one of the transition schemes."""
    if isinstance(address, IPv4Address):
        return
    number = int(address)
    if any(address in network for network in _LOW_32_BITS):
        yield IPv4Address(number & _MASK)
    if address in _LOCAL_NAT64:  # RFC 6052 splits the address around bits 64 to 71 of a /48 prefix.
        yield IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF)
    if address in _SIX_TO_FOUR:
        yield IPv4Address(number >> 80 & _MASK)
    if address in _TEREDO:
        yield IPv4Address(number >> 64 & _MASK)
        yield IPv4Address(~number & _MASK)
    if number >> 32 & _MASK in _ISATAP_MARKS:
        yield IPv4Address(number & _MASK)
