"""URLs from outside: parsed once by strict rules and written anew, so that nothing later reads them differently."""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote

import idna

from services.mesh.egress.addresses import Address, NetworkPolicy
from services.mesh.errors import InvalidUrl

MAX_URL_CHARACTERS = 2048
MAX_HOST_CHARACTERS = 253
PUBLIC_ONLY = NetworkPolicy()
# What `localhost` and the names below it mean (RFC 6761), whatever a resolver says.
LOOPBACK = IPv4Address("127.0.0.1")

_SHAPE = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
_UNFIT = re.compile(r"[\x00-\x20\x7f-\xa0\\\ud800-\udfff]|\s", re.UNICODE)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
# What RFC 3986 lets stand in a path or query, and "%" because its escapes were checked.
_SAFE = "%!$&'()*+,;=:@/?-._~"


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL in its parts. `address` is set when the host is a literal; `target` is the path with the query."""

    scheme: str
    host: str
    port: int
    target: str
    address: Address | None = None

    @property
    def authority(self) -> str:
        """Host and port as in the Host header; the scheme's own port is left out."""
        host = f"[{self.host}]" if isinstance(self.address, IPv6Address) else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def check_url(url: str, policy: NetworkPolicy = PUBLIC_ONLY) -> str:
    """The URL written anew, without its fragment. Raises InvalidUrl."""
    return str(parse_url(url, policy))


def parse_url(url: str, policy: NetworkPolicy = PUBLIC_ONLY) -> Target:
    """The parts of an http(s) URL without credentials whose host is a name or a permitted literal. Raises InvalidUrl."""
    if len(url) > MAX_URL_CHARACTERS:
        raise InvalidUrl(f"The URL is longer than {MAX_URL_CHARACTERS} characters.")
    if _UNFIT.search(url) or _BAD_PERCENT.search(url):
        raise InvalidUrl("The URL holds characters that a URL may not hold.")
    shape = _SHAPE.fullmatch(url)
    if shape is None:
        raise InvalidUrl("The URL is not an http or https URL.")
    scheme = shape["scheme"].lower()
    host, port = _split_authority(shape["authority"])
    target = quote((shape["path"] or "/") + (shape["query"] or ""), safe=_SAFE)
    if len(target) > 2 * MAX_URL_CHARACTERS:
        raise InvalidUrl("The URL is too long once it is escaped.")
    name, address = _judge_host(host, policy)
    return Target(scheme, name, port or _DEFAULT_PORTS[scheme], target, address)


def _split_authority(authority: str) -> tuple[str, int | None]:
    """Host and port. Raises InvalidUrl for credentials, escapes and ports out of 1 to 65535."""
    if "@" in authority:
        raise InvalidUrl("The URL carries credentials.")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None or "%" in authority:
        raise InvalidUrl("The URL has no valid host and port.")
    port = None if parts["port"] is None else int(parts["port"])
    if port is not None and not 1 <= port <= 65535:
        raise InvalidUrl("The URL's port is not within 1 to 65535.")
    return parts["host"], port


def _judge_host(host: str, policy: NetworkPolicy) -> tuple[str, Address | None]:
    """The host in its one spelling, with its address if it is a literal. Raises InvalidUrl."""
    name = host if host.startswith("[") else _plain_name(host)
    literal = _literal(name)
    judged = literal or (LOOPBACK if name.rpartition(".")[2] == "localhost" else None)
    if judged is not None and not policy.permits(judged):
        raise InvalidUrl("The URL's host is not on the public internet.")
    return (name if literal is None else str(literal)), literal


def _literal(name: str) -> Address | None:
    """The address that a host spells, None for a name. Raises InvalidUrl."""
    if name.startswith("["):
        return _read_literal(name[1:-1], IPv6Address)
    # As in the WHATWG URL standard: a last label that is a number makes the whole host an IPv4 address.
    return _read_literal(name, IPv4Address) if _NUMERIC_LABEL.fullmatch(name.rpartition(".")[2]) else None


def _read_literal(text: str, kind: type[IPv4Address] | type[IPv6Address]) -> Address:
    """Four decimal numbers without leading zeros, or an IPv6 address without zone. Raises InvalidUrl."""
    try:
        return kind(text)
    except AddressValueError as error:
        raise InvalidUrl("The URL's host is not an address in its plain spelling.") from error


def _plain_name(host: str) -> str:
    """The name in ASCII, lower case, without the dot of the root. Raises InvalidUrl."""
    name = host.lower().removesuffix(".")
    try:
        # Without UTS 46 mapping: full-width, circled and other look-alike characters are refused, never folded.
        name = name if name.isascii() and "xn--" not in name else ".".join(map(_encode_label, name.split(".")))
    except (idna.IDNAError, UnicodeError) as error:
        raise InvalidUrl("The URL's host is not a valid name.") from error
    if len(name) > MAX_HOST_CHARACTERS or not all(map(_LABEL.fullmatch, name.split("."))):
        raise InvalidUrl("The URL's host is not a valid name.")
    return name


def _encode_label(label: str) -> str:
    if label.isascii() and not label.startswith("xn--"):
        return label
    return idna.alabel(label).decode()
