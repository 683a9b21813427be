"""JSON Web Tokens taken apart, by rules that leave one reading."""

import json
from dataclasses import dataclass
from typing import Any

from joserfc.util import urlsafe_b64decode

MAX_TOKEN_BYTES = 8 * 1024
_MAX_KEY_ID_CHARACTERS = 512
_TYPES = frozenset({"jwt", "at+jwt"})
# What names keys or rules from inside the token, or changes what is signed: RFC 7515 sec. 4.1, RFC 7797.
_REFUSED_HEADERS = frozenset({"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"})


class TokenRefused(Exception):
    """The token proves nothing. The text is for the log: it says what is wrong and repeats nothing of the token."""


@dataclass(frozen=True, slots=True, repr=False)
class CompactToken:
    """A token in its parts, of which nothing is believed yet."""

    algorithm: str
    key_id: str
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def parse_token(token: bytes) -> CompactToken:
    """The parts of a JWS in compact serialization. Raises TokenRefused."""
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenRefused("longer than 8 KiB")
    parts = token.split(b".")
    if len(parts) != 3 or not all(parts):
        raise TokenRefused("not three parts")
    try:
        header, claims = (_read_object(urlsafe_b64decode(part)) for part in parts[:2])
        signature = urlsafe_b64decode(parts[2])
    except (ValueError, RecursionError):
        raise TokenRefused("not base64url of JSON objects") from None
    algorithm, key_id = _read_header(header)
    return CompactToken(algorithm, key_id, claims, parts[0] + b"." + parts[1], signature)


def _read_object(text: bytes) -> dict[str, Any]:
    """Raises ValueError, RecursionError."""
    document = json.loads(text.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    if not isinstance(document, dict):
        raise ValueError("not an object")  # noqa: TRY004 (one kind of failure for whatever is wrong)
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_header(header: dict[str, Any]) -> tuple[str, str]:
    """Algorithm and key id."""
    if _REFUSED_HEADERS & header.keys():
        raise TokenRefused("a header that is never followed")
    algorithm, key_id, kind = header.get("alg"), header.get("kid", ""), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or not isinstance(key_id, str) or not isinstance(kind, str):
        raise TokenRefused("a header of the wrong type")
    if len(key_id) > _MAX_KEY_ID_CHARACTERS:
        raise TokenRefused("a key id that is too long")
    if kind.lower().removeprefix("application/") not in _TYPES:
        raise TokenRefused("another class of token")
    return algorithm, key_id
