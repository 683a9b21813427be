"""JSON Web Key Sets, of which only public signing keys of sound size are taken."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key, RSAKey

MIN_MAX_AGE_SECONDS, MAX_MAX_AGE_SECONDS = 300.0, 24 * 3600.0
_USUAL_MAX_AGE_SECONDS = 3600.0
_MAX_KEYS = 100
_MAX_KEY_ID_CHARACTERS = 512
_MAX_VALUE_CHARACTERS = 2048
_MAX_EXPONENT_CHARACTERS = 8
_RSA_BITS = range(2048, 8193)
_MIN_MODULUS_CHARACTERS = 342
# Nothing private is read, should an issuer publish it.
_PUBLIC_MEMBERS: Mapping[str, tuple[str, ...]] = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_CURVES = frozenset({"P-256", "Ed25519"})
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})\b", re.IGNORECASE)


def read_key_set(document: Any) -> dict[str, Key]:
    """Usable keys by their id; others are left out. Raises ValueError without any, and for more than a hundred."""
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list) or len(entries) > _MAX_KEYS:
        raise ValueError("not a key set")
    keys = dict(_usable(entries))
    if not keys:
        raise ValueError("no usable key")
    return keys


def read_max_age(cache_control: str) -> float:
    """How long an answer is fresh, in seconds: what it says within 5 minutes to 24 hours, else one hour."""
    said = _MAX_AGE.search(cache_control)
    seconds = float(said[1]) if said else _USUAL_MAX_AGE_SECONDS
    return min(max(seconds, MIN_MAX_AGE_SECONDS), MAX_MAX_AGE_SECONDS)


def _usable(entries: list[Any]) -> Iterator[tuple[str, Key]]:
    for entry in entries:
        if isinstance(entry, dict) and _may_verify(entry) and (key := _import(entry)) is not None:
            yield entry["kid"], key


def _may_verify(entry: dict[str, Any]) -> bool:
    key_id, operations = entry.get("kid"), entry.get("key_ops", ["verify"])
    named = isinstance(key_id, str) and 0 < len(key_id) <= _MAX_KEY_ID_CHARACTERS
    return named and entry.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _import(entry: dict[str, Any]) -> Key | None:
    kind, algorithm = entry.get("kty"), entry.get("alg", "")
    if not isinstance(kind, str) or not isinstance(algorithm, str) or kind not in _PUBLIC_MEMBERS:
        return None
    values = {name: value for name in _PUBLIC_MEMBERS[kind] if isinstance(value := entry.get(name), str)}
    if len(values) < len(_PUBLIC_MEMBERS[kind]) or not _is_sound(values):
        return None
    try:
        key = JWKRegistry.import_key({"kty": kind, **values, **({"alg": algorithm} if algorithm else {})})
        return key if not isinstance(key, RSAKey) or key.public_key.key_size in _RSA_BITS else None
    except (JoseError, ValueError, TypeError, UnsupportedAlgorithm):
        return None


def _is_sound(values: Mapping[str, str]) -> bool:
    """Whether the size or curve is one that is used here, and no number is so long that it costs much to check with."""
    if max(map(len, values.values())) > _MAX_VALUE_CHARACTERS:
        return False
    if "n" in values:
        return len(values["n"]) >= _MIN_MODULUS_CHARACTERS and len(values["e"]) <= _MAX_EXPONENT_CHARACTERS
    return values["crv"] in _CURVES
