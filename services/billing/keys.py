"""API keys: made at random, recognised by a keyed hash."""

import hashlib
import hmac
import secrets
import string
from pathlib import Path

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
LIVE_MARK, TEST_MARK = "sk_live_", "sk_test_"
RANDOM_CHARACTERS = 32
SHOWN_CHARACTERS = len(LIVE_MARK) + 4
LONGEST_SECRET = 128
SHORTEST_PEPPER_BYTES = 32


class PepperUnusable(ValueError):
    """The pepper file is missing, too short, or readable by everyone."""


def read_pepper(path: Path) -> bytes:
    """The key of the keyed hash. Raises PepperUnusable."""
    try:
        pepper, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise PepperUnusable(f"pepper file {path}: {error.strerror}") from error
    if mode & 0o007:
        raise PepperUnusable(f"pepper file {path} is open to every user: chmod 600")
    if len(pepper) < SHORTEST_PEPPER_BYTES:
        raise PepperUnusable(f"pepper file {path} has fewer than {SHORTEST_PEPPER_BYTES} bytes")
    return pepper


def new_secret(*, test: bool) -> str:
    """A secret of 190 random bits behind its mark; 166 of them stay unknown to who sees the prefix."""
    mark = TEST_MARK if test else LIVE_MARK
    return mark + "".join(secrets.choice(BASE62) for _ in range(RANDOM_CHARACTERS))


def shown_prefix(secret: str) -> str:
    """The part of a secret that a list may show."""
    return secret[:SHOWN_CHARACTERS]


def digest(pepper: bytes, secret: str) -> str:
    """HMAC-SHA256 of a secret, in hex; the only form in which it is stored."""
    return hmac.new(pepper, secret.encode(), hashlib.sha256).hexdigest()


def is_plausible(secret: str) -> bool:
    """Whether it is worth a look-up."""
    return secret.startswith((LIVE_MARK, TEST_MARK)) and len(secret) <= LONGEST_SECRET
