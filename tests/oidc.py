"""A small OpenID Connect issuer: discovery and keys over HTTP, tokens of every kind, outages on demand."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from threading import Thread
from typing import Any

from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

AUDIENCE = "steno"
EMAIL = "ada@example.com"


class Health(Enum):
    """How the issuer answers."""

    UP = "up"
    DOWN = "down"
    SILENT = "silent"
    HTML = "html"
    HUGE = "huge"
    EMPTY = "empty"
    FAILING = "failing"


def new_key(algorithm: str, key_id: str) -> Key:
    """A fresh private key for an algorithm."""
    parameters: Any = {"kid": key_id, "use": "sig", "alg": algorithm}
    if algorithm in ("RS256", "PS256"):
        return RSAKey.generate_key(2048, parameters)
    return ECKey.generate_key("P-256", parameters) if algorithm == "ES256" else OKPKey.generate_key("Ed25519", parameters)


@dataclass
class OidcIssuer:
    """Serves on loopback. `keys` are published and by their order: `mint` signs with the last one."""

    keys: dict[str, Key] = field(default_factory=dict)
    health: Health = Health.UP
    cache_control: str = ""
    port: int = 0
    keys_asked: int = 0
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Its name, which is the base of its discovery document."""
        return f"http://127.0.0.1:{self.port}/realm"

    @property
    def keys_url(self) -> str:
        """Where its key set is."""
        return f"http://127.0.0.1:{self.port}/keys"

    def rotate(self, algorithm: str = "RS256", *, keep: bool = False) -> str:
        """Sign with a new key from now on, whose id is returned; the former ones are withdrawn unless kept."""
        key_id = f"key-{len(self.keys)}-{time.monotonic_ns()}"
        self.keys = {**(self.keys if keep else {}), key_id: new_key(algorithm, key_id)}
        return key_id

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Claims of a good token; a change to None leaves the claim out."""
        now = int(time.time())
        usual = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "ada",
            "iat": now,
            "exp": now + 3600,
            "email": EMAIL,
            "email_verified": True,
        }
        return {name: value for name, value in {**usual, **changes}.items() if value is not None}

    def mint(self, headers: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """A token of the newest key. headers: put over the usual ones, None leaves one out. changes: as for `claims`."""
        key_id, key = list(self.keys.items())[-1]
        header = {"alg": str(key.alg), "typ": "JWT", "kid": key_id, **(headers or {})}
        kept = {name: value for name, value in header.items() if value is not None}
        return sign(kept, self.claims(**changes), key, str(key.alg))

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            if path == "/keys":
                self.keys_asked += 1
            if self.health is Health.SILENT:
                await self.opened.wait()
            if self.health not in (Health.DOWN, Health.SILENT):
                writer.write(self._answer(path))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def _answer(self, path: str) -> bytes:
        status = "500 Oh" if self.health is Health.FAILING else "200 OK"
        body = self._body(path)
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        if self.cache_control:
            head += f"cache-control: {self.cache_control}\r\n"
        return head.encode() + b"connection: close\r\n\r\n" + body

    def _body(self, path: str) -> bytes:
        if self.health is Health.HTML:
            return b"<!doctype html><title>Please wait</title>"
        if path.endswith("/.well-known/openid-configuration"):
            return json.dumps({"issuer": self.url, "jwks_uri": self.keys_url}).encode()
        published = [] if self.health is Health.EMPTY else [key.as_dict(private=False) for key in self.keys.values()]
        padding = "x" * 2_000_000 if self.health is Health.HUGE else ""
        return json.dumps({"keys": published, "padding": padding}).encode()


def encode(part: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def sign(header: Mapping[str, Any] | bytes, claims: Mapping[str, Any] | bytes, key: Key, algorithm: str) -> str:
    """A compact JWS; bytes are taken as they are, so that any oddity can be signed."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    signed = ".".join(map(encode, parts))
    return f"{signed}.{encode(JWSRegistry.algorithms[algorithm].sign(signed.encode(), key))}"


def secret_key(secret: bytes) -> Key:
    """The key of HS256."""
    return OctKey.import_key(secret)


@asynccontextmanager
async def oidc_issuer(algorithm: str = "RS256") -> AsyncIterator[OidcIssuer]:
    """An issuer with one key, serving."""
    issuer = OidcIssuer()
    server = await asyncio.start_server(issuer.handle, "127.0.0.1", 0)
    issuer.port = server.sockets[0].getsockname()[1]
    issuer.rotate(algorithm)
    try:
        yield issuer
    finally:
        issuer.opened.set()
        server.close()
        await server.wait_closed()


@contextmanager
def running_issuer(algorithm: str = "RS256") -> Iterator[OidcIssuer]:
    """The same in a thread of its own, for tests that block."""
    started: Future[tuple[OidcIssuer, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        ended = asyncio.Event()
        async with oidc_issuer(algorithm) as issuer:
            started.set_result((issuer, asyncio.get_running_loop(), ended))
            await ended.wait()

    thread = Thread(target=asyncio.run, args=(serve(),), name="issuer")
    thread.start()
    issuer, loop, ended = started.result(timeout=60)
    try:
        yield issuer
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(timeout=60)
