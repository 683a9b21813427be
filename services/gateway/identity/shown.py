"""What a request shows of its sender, before anything is believed."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from services.gateway.domain import Reason, Refusal

Headers = Iterable[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case."""

_MAX_KEY_BYTES = 256
_SECRET_PREFIX = b"sk_"
_BEARER = b"bearer"


@dataclass(frozen=True, slots=True)
class Shown:
    """The identity headers of one request; what was sent twice stands there joined by a comma, which none of them may hold.

    token: what was sent in Authorization and is no API key, None for nothing. claim_digest: SHA-256 in hexadecimal.
    """

    api_key: str = field(default="", repr=False)
    token: bytes | None = field(default=None, repr=False)
    email: bytes = b""
    guest_token: bytes = field(default=b"", repr=False)
    claim_digest: str = ""


def read_shown(headers: Headers) -> Shown:
    """The identity headers. Raises Refusal for an API key that cannot be one, or for two."""
    sent: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        sent.setdefault(name, []).append(value.strip())
    credentials = [credential for value in sent.get(b"authorization", ()) if (credential := _credential(value)) is not None]
    keys = {*sent.get(b"x-api-key", ()), *(credential for credential in credentials if credential.startswith(_SECRET_PREFIX))}
    tokens = [credential for credential in credentials if not credential.startswith(_SECRET_PREFIX)]
    return Shown(
        _read_key(keys - {b""}),
        b", ".join(tokens) if tokens else None,
        _joined(sent, b"x-user-email"),
        _joined(sent, b"x-guest-token"),
        _digest(_joined(sent, b"x-claim-token")),
    )


def _credential(value: bytes) -> bytes | None:
    """What a bearer shows; a token without the word Bearer counts, so that it is refused; other schemes are not ours."""
    scheme, space, rest = value.partition(b" ")
    if scheme.lower() == _BEARER:
        return rest.strip()
    return None if space or not value else b"without scheme " + value


def _read_key(keys: set[bytes]) -> str:
    if not keys:
        return ""
    secret, *others = keys
    if others or len(secret) > _MAX_KEY_BYTES or not secret.isascii() or b" " in secret:
        raise Refusal(Reason.INVALID_API_KEY)
    return secret.decode("ascii")


def _joined(sent: dict[bytes, list[bytes]], name: bytes) -> bytes:
    return b", ".join(value for value in sent.get(name, ()) if value)


def _digest(claim_token: bytes) -> str:
    """A malformed token needs no check: no issued one has its digest."""
    return hashlib.sha256(claim_token).hexdigest() if claim_token else ""
