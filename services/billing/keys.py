"""API keys and guest tokens: made at random, recognised by a keyed hash; and files that hold secrets."""

import hashlib
import hmac
import secrets
import string
from pathlib import Path

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
LIVE_MARK, TEST_MARK, GUEST_MARK = "sk_live_", "sk_test_", "gt_"
RANDOM_CHARACTERS = 32
SHOWN_CHARACTERS = len(LIVE_MARK) + 4
LONGEST_SECRET = 128
SHORTEST_PEPPER_BYTES = 32


class SecretUnusable(ValueError):
    """A file that should hold a secret is missing, empty, or readable by everyone."""


class PepperUnusable(SecretUnusable):
    """The pepper file is missing, too short, or readable by everyone."""


def read_secret_file(path: Path) -> bytes:
    """The content of a file that nobody else may read. Raises SecretUnusable."""
    try:
        content, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise SecretUnusable(f"secret file {path}: {error.strerror}") from error
    if mode & 0o007:
        raise SecretUnusable(f"secret file {path} is open to every user: chmod 600")
    return content


def read_secrets(path: Path) -> list[str]:
    """The secrets of a file, one a line, the newest first or last alike. Raises SecretUnusable."""
    try:
        secrets_found = read_secret_file(path).decode("ascii").split()
    except UnicodeDecodeError as error:
        raise SecretUnusable(f"secret file {path} is not text") from error
    if not secrets_found:
        raise SecretUnusable(f"secret file {path} is empty")
    return secrets_found


def read_pepper(path: Path) -> bytes:
    """The key of the keyed hash. Raises PepperUnusable."""
    try:
        pepper = read_secret_file(path)
    except SecretUnusable as error:
        raise PepperUnusable(f"pepper: {error}") from error
    if len(pepper) < SHORTEST_PEPPER_BYTES:
        raise PepperUnusable(f"pepper file {path} has fewer than {SHORTEST_PEPPER_BYTES} bytes")
    return pepper


def new_secret(*, test: bool) -> str:
    """A secret of 190 random bits behind its mark; 166 of them stay unknown to who sees the prefix."""
    return (TEST_MARK if test else LIVE_MARK) + _random()


def new_guest_token() -> str:
    """A token of 190 random bits that opens a buyer's wallet."""
    return GUEST_MARK + _random()


def _random() -> str:
    return "".join(secrets.choice(BASE62) for _ in range(RANDOM_CHARACTERS))


def shown_prefix(secret: str) -> str:
    """The part of a secret that a list may show."""
    return secret[:SHOWN_CHARACTERS]


def digest(pepper: bytes, secret: str) -> str:
    """HMAC-SHA256 of a secret, in hex; the only form in which it is stored."""
    return hmac.new(pepper, secret.encode(), hashlib.sha256).hexdigest()


def is_plausible(secret: str) -> bool:
    """Whether it is worth a look-up."""
    return secret.startswith((LIVE_MARK, TEST_MARK)) and len(secret) <= LONGEST_SECRET


def is_plausible_guest_token(token: str) -> bool:
    """Whether it is worth a look-up."""
    return token.startswith(GUEST_MARK) and len(token) <= LONGEST_SECRET
