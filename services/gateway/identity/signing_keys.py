"""The keys that issuers sign with: published ones, fetched and remembered, or one shared secret."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from joserfc.jwk import Key, OctKey

from services.gateway.identity.issuers import Issuer
from services.gateway.identity.key_sets import read_key_set, read_max_age
from services.mesh.errors import MeshError
from services.mesh.lifecycle import wait_or_stop
from services.mesh.telemetry import get_logger

FETCH_SECONDS = 3.0
REFETCH_SECONDS = 60.0
_MOST_AGE_SECONDS = 24 * 3600.0
_RETRY_SECONDS = 5.0
_DISCOVERY_PATH = "/.well-known/openid-configuration"

FetchJson = Callable[[str], Awaitable[tuple[Any, str]]]
"""From a URL to its JSON document and its Cache-Control header. Raises MeshError, OSError, ValueError."""


class SecretKey:
    """The one secret of an issuer that signs with HS256, whatever id it gives it."""

    def __init__(self, secret: bytes) -> None:
        self._key = OctKey.import_key(secret)

    async def find(self, key_id: str) -> Key | None:
        """The secret."""
        return self._key


class PublishedKeys:
    """The key set of one issuer.

    Fetched anew when its age says so, and at most once a minute for an id that is not in it. What was fetched keeps working
    for 24 hours while the issuer cannot be reached.
    """

    def __init__(self, issuer: Issuer, fetch: FetchJson, clock: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: dict[str, Key] = {}
        self._fetched_at = self._asked_at = float("-inf")
        self._max_age_seconds = 0.0
        self._logger = get_logger("gateway.identity")

    async def find(self, key_id: str) -> Key | None:
        """The key of this id, fetched if need be; waits for no more than two fetches."""
        found = self._known(key_id)
        if found is not None or not key_id:
            return found
        async with self._lock:
            if self._known(key_id) is None and self._may_ask():
                await self._refresh()
        return self._known(key_id)

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep the keys fresh until stopping, so that no request waits for them."""
        while not stopping.is_set():
            async with self._lock:
                if self._stale_in() <= 0 and self._may_ask():
                    await self._refresh()
            pause = max(self._stale_in(), REFETCH_SECONDS if self._keys else _RETRY_SECONDS)
            await wait_or_stop(stopping, pause * random.uniform(1.0, 1.1))  # noqa: S311 (jitter)

    def _known(self, key_id: str) -> Key | None:
        if self._clock() - self._fetched_at > _MOST_AGE_SECONDS:
            self._keys = {}
        return self._keys.get(key_id)

    def _stale_in(self) -> float:
        return self._fetched_at + self._max_age_seconds - self._clock()

    def _may_ask(self) -> bool:
        return self._clock() - self._asked_at >= (REFETCH_SECONDS if self._keys else _RETRY_SECONDS)

    async def _refresh(self) -> None:
        """A failure is logged and leaves what is known; a cancelled fetch does not count as one."""
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                document, cache_control = await self._fetch(await self._locate())
            self._keys = read_key_set(document)
            self._max_age_seconds = read_max_age(cache_control)
            self._fetched_at = self._clock()
        except (MeshError, OSError, ValueError, RecursionError) as error:
            self._logger.warning("keys of an issuer were not fetched", issuer=self._issuer.issuer, error=type(error).__name__)
        self._asked_at = self._clock()

    async def _locate(self) -> str:
        """The address of the key set, by OpenID Connect Discovery 1.0 unless configured. Raises ValueError."""
        if self._issuer.jwks_url:
            return self._issuer.jwks_url
        document, _ = await self._fetch(self._issuer.issuer.rstrip("/") + _DISCOVERY_PATH)
        address = document.get("jwks_uri") if isinstance(document, dict) else None
        if not isinstance(address, str) or document.get("issuer") != self._issuer.issuer or not self._issuer.can_fetch(address):
            raise ValueError("not the configuration of this issuer")
        return address
