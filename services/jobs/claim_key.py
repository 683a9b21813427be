"""The key that claim tokens are made with, and the tokens themselves."""

import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path

SHORTEST_KEY_BYTES = 32


class ClaimKeyUnusable(ValueError):
    """The claim key file is missing, too short, or readable by everyone."""


@dataclass(frozen=True)
class ClaimKey:
    """Makes the token of a job from its id: the same at every replay, though only its digest is stored."""

    secret: bytes = field(repr=False)

    def token(self, job_id: str) -> str:
        """256 bits, in hexadecimal, that nobody without the key can tell from random ones."""
        return hmac.new(self.secret, job_id.encode(), hashlib.sha256).hexdigest()

    def digest(self, job_id: str) -> str:
        """What is stored of the job's token."""
        return token_digest(self.token(job_id))


def token_digest(token: str) -> str:
    """SHA-256 of a claim token, in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def read_claim_key(path: Path) -> ClaimKey:
    """The key in a file of 32 bytes or more. Raises ClaimKeyUnusable."""
    try:
        content, mode = path.read_bytes(), path.stat().st_mode
    except OSError as error:
        raise ClaimKeyUnusable(f"claim key file {path}: {error.strerror}") from error
    if mode & 0o007:
        raise ClaimKeyUnusable(f"claim key file {path} is open to every user: chmod 600")
    # Text ends with a line feed that is none of the key; random bytes may, and it is.
    secret = content.strip() if content.isascii() else content
    if len(secret) < SHORTEST_KEY_BYTES:
        raise ClaimKeyUnusable(f"claim key file {path} has fewer than {SHORTEST_KEY_BYTES} bytes")
    return ClaimKey(secret)
