"""Small shared values on the bus: read one, replace it unless somebody was faster."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, KeyWrongLastSequenceError, NotFoundError
from nats.js.kv import KeyValue

_MAX_VALUE_BYTES = 16 * 1024
_MAX_BUCKET_BYTES = 32 * 1024**2


class Bucket:
    """Values that the server forgets after a while; kept in its memory, gone when it restarts. Use `Bus.bucket`."""

    def __init__(
        self,
        jetstream: JetStreamContext,
        answering: Callable[[], AbstractAsyncContextManager[None]],
        name: str,
        max_age_seconds: float,
        replicas: int,
    ) -> None:
        self._jetstream = jetstream
        self._answering = answering
        self._config = KeyValueConfig(
            bucket=name,
            ttl=max_age_seconds,
            history=1,
            storage=StorageType.MEMORY,
            max_value_size=_MAX_VALUE_BYTES,
            max_bytes=_MAX_BUCKET_BYTES,
            replicas=replicas,
        )
        self._opened: KeyValue | None = None

    async def read(self, key: str) -> tuple[bytes, int]:
        """The value and its revision; nothing and 0 when there is none. Raises ServiceUnavailable."""
        async with self._answering():
            values = await self._values()
            try:
                entry = await values.get(key)
            except KeyNotFoundError:
                return b"", 0
            except (NotFoundError, BucketNotFoundError):
                self._opened = None
                raise
        return entry.value or b"", entry.revision or 0

    async def replace(self, key: str, value: bytes, revision: int) -> bool:
        """Store the value unless the key has another revision by now; says whether it did. Raises ServiceUnavailable."""
        async with self._answering():
            values = await self._values()
            try:
                await values.update(key, value, last=revision)
            except KeyWrongLastSequenceError:
                return False
            except Exception:
                # A server that lost the bucket: opened anew the next time.
                self._opened = None
                raise
        return True

    async def _values(self) -> KeyValue:
        if self._opened is None:
            self._opened = await self._jetstream.create_key_value(self._config)
        return self._opened
