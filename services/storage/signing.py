"""URLs that carry their own, short permission: one method on one object until a moment."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from services.storage.domain import InvalidSignature, Kind

Method = Literal["GET", "PUT"]
LEAST_KEY_BYTES = 32
_SCHEME = "steno-data-plane-1"
_PATH = re.compile(r"/(media|artefacts)/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
# One spelling only: a query with other, more, fewer or reordered fields was not made here.
_QUERY = re.compile(r"expires=([1-9][0-9]{0,10})&max_bytes=(0|[1-9][0-9]{0,14})&signature=([A-Za-z0-9_-]{43})")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a signed URL allows. `max_size_bytes` bounds a PUT and is 0 for a GET."""

    method: Method
    kind: Kind
    object_id: str
    expire_time: datetime
    max_size_bytes: int = 0


class UrlSigner:
    """Signs with the first key and accepts all of them, so that keys can be replaced without a gap."""

    def __init__(self, keys: Sequence[bytes], base_url: str) -> None:
        if not keys or any(len(key) < LEAST_KEY_BYTES for key in keys):
            raise ValueError(f"a URL signing key has at least {LEAST_KEY_BYTES} bytes")
        self._keys = tuple(keys)
        self.base_url = base_url.rstrip("/")

    @classmethod
    def from_file(cls, path: Path, base_url: str) -> Self:
        """Read the keys, one a line, the newest first. Raises OSError and ValueError."""
        return cls([line.strip() for line in path.read_bytes().splitlines() if line.strip()], base_url)

    def sign(self, grant: Grant) -> str:
        """The URL for a grant; its time is cut to whole seconds."""
        expires = int(grant.expire_time.timestamp())
        signature = _signature(self._keys[0], grant, expires)
        query = f"expires={expires}&max_bytes={grant.max_size_bytes}&signature={signature}"
        return f"{self.base_url}/{grant.kind.value}/{grant.object_id}?{query}"

    def verify(self, method: str, path: str, query: str, now: datetime) -> Grant:
        """The grant of a request. A URL to GET also serves HEAD. Raises InvalidSignature, always the same."""
        where, permission = _PATH.fullmatch(path), _QUERY.fullmatch(query)
        if where is None or permission is None:
            raise InvalidSignature
        grant = Grant(
            "PUT" if method == "PUT" else "GET",
            Kind(where[1]),
            where[2],
            datetime.fromtimestamp(int(permission[1]), UTC),
            int(permission[2]),
        )
        if not self._signed(grant, permission[3]) or grant.expire_time <= now:
            raise InvalidSignature
        return grant

    def mark(self, scheme: str, content: str) -> str:
        """A signature of content for a purpose of its own."""
        return _mark(self._keys[0], scheme, content)

    def is_mark(self, scheme: str, content: str, mark: str) -> bool:
        """Whether it was signed here with one of the keys."""
        matches = [hmac.compare_digest(_mark(key, scheme, content).encode(), mark.encode()) for key in self._keys]
        return any(matches)

    def _signed(self, grant: Grant, signature: str) -> bool:
        expires = int(grant.expire_time.timestamp())
        matches = [hmac.compare_digest(_signature(key, grant, expires), signature) for key in self._keys]
        return any(matches)


def _signature(key: bytes, grant: Grant, expires: int) -> str:
    signed = (_SCHEME, grant.method, grant.kind.value, grant.object_id, str(expires), str(grant.max_size_bytes))
    digest = hmac.digest(key, "\n".join(signed).encode(), hashlib.sha256)
    return urlsafe_b64encode(digest).decode().rstrip("=")


def _mark(key: bytes, scheme: str, content: str) -> str:
    return hmac.digest(key, f"{scheme}\n{content}".encode(), hashlib.sha256).hex()


def is_data_path(path: str) -> bool:
    """Whether a path names an object of the data plane at all."""
    return _PATH.fullmatch(path) is not None
