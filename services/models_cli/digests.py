"""Whether a file is the one that was offered."""

import hashlib
from pathlib import Path

from services.inference.models.catalogue.manifest import digest

_SHA256_LENGTH = 64
_BLOCK_BYTES = 1 << 20


def is_as_offered(path: Path, size: int, etag: str) -> bool:
    """Whether size and digest are right; an empty etag is nobody's."""
    if not path.is_file() or path.stat().st_size != size:
        return False
    if not etag:
        return True
    return (digest(path) if len(etag) == _SHA256_LENGTH else git_digest(path)) == etag


def git_digest(path: Path) -> str:
    """How git names a file's content, which is how the hub names small files."""
    hashed = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            hashed.update(block)
    return hashed.hexdigest()
