"""Who a request acts for: signed, short-lived caller tokens between services."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ConfigDict, ValidationError

from services.mesh.contexts import within
from services.mesh.errors import InsufficientScope, InvalidCallerToken, MissingCredentials

P = ParamSpec("P")
T = TypeVar("T")

TOKEN_METADATA_KEY = "steno-caller-token"  # noqa: S105 (a name)
API_KEY_METADATA_KEY = "x-api-key"
TOKEN_TYPE = "steno-caller+jwt"  # noqa: S105 (a name)
ALGORITHM = "Ed25519"
TOKEN_LIFETIME_SECONDS = 60
_TOKEN_REUSE_SECONDS = 30
_CLOCK_LEEWAY_SECONDS = 5
_CACHE_SIZE = 4096


class CallerKind(StrEnum):
    """What kind of party a request acts for."""

    KEY = "key"
    USER = "user"
    GUEST = "guest"
    SERVICE = "service"
    OPERATOR = "operator"


class Scope(StrEnum):
    """What a key, a user or a guest may be limited to."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"
    ACT_AS_USER = "act_as_user"


@dataclass(frozen=True)
class Caller:
    """Who a request acts for, and which service vouches for it.

    owner: who within the workspace: "workspace", "user:<id>" or "guest:<id>". wallet_id: whose credit pays; empty for the
    workspace's own. claim_digest: SHA-256, in hexadecimal, of the claim token that the request showed.
    """

    kind: CallerKind
    service: str
    workspace_id: str = ""
    owner: str = ""
    key_id: str = ""
    scopes: tuple[str, ...] = ()
    wallet_id: str = ""
    claim_digest: str = ""

    @property
    def payer_id(self) -> str:
        """The wallet, user or workspace whose credit pays."""
        return self.wallet_id or self.workspace_id

    def check_scope(self, scope: Scope) -> None:
        """Raises InsufficientScope. Without scopes a caller may all but act as a user; services and operators are not limited."""
        if self.kind in (CallerKind.SERVICE, CallerKind.OPERATOR):
            return
        if not (scope in self.scopes or (not self.scopes and scope is not Scope.ACT_AS_USER)):
            raise InsufficientScope(scope=scope.value)


class _Claims(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    iss: str
    aud: str
    exp: int
    iat: int
    kind: CallerKind
    workspace_id: str
    owner: str
    key_id: str
    scopes: list[str]
    wallet_id: str = ""
    claim_digest: str = ""

    def caller(self) -> Caller:
        return Caller(
            self.kind, self.iss, self.workspace_id, self.owner, self.key_id, tuple(self.scopes), self.wallet_id, self.claim_digest
        )


_caller: ContextVar[Caller | None] = ContextVar("steno_caller", default=None)


def current_caller() -> Caller:
    """The caller of the RPC or request in hand. Raises MissingCredentials outside of one."""
    caller = _caller.get()
    if caller is None:
        raise MissingCredentials
    return caller


def caller_or_none() -> Caller | None:
    """The caller of the RPC or request in hand, if there is one."""
    return _caller.get()


@contextmanager
def calling_as(caller: Caller) -> Iterator[None]:
    """Within, `current_caller()` is this one and outgoing calls act for it."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)


@contextmanager
def acting_for(workspace_id: str, owner: str = "workspace", wallet_id: str = "") -> Iterator[None]:
    """Within, outgoing calls are the service's own, for this workspace, owner and wallet."""
    with calling_as(Caller(CallerKind.SERVICE, "", workspace_id, owner, wallet_id=wallet_id)):
        yield


def acting_on(work: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The same work, for the caller in hand now, whichever task does it."""
    caller = _caller.get()
    return work if caller is None else within(partial(calling_as, caller), work)


class TokenSigner:
    """Mints the caller tokens of one service."""

    def __init__(self, key: OKPKey, service: str) -> None:
        self.service = service
        self._key = key
        self._registry = JWSRegistry(algorithms=[ALGORITHM])
        self._minted: dict[tuple[Caller, str], tuple[float, str]] = {}

    def mint(self, caller: Caller, audience: str) -> str:
        """A token for one audience, valid for 60 s; the same one for 30 s."""
        now = time.time()
        cached = self._minted.get((caller, audience))
        # Also one from the future is not used again: the clock was set back since.
        if cached is not None and 0 <= now - cached[0] < _TOKEN_REUSE_SECONDS:
            return cached[1]
        token = self._sign(caller, audience, int(now))
        if len(self._minted) >= _CACHE_SIZE:
            self._minted.clear()
        self._minted[caller, audience] = (now, token)
        return token

    def _sign(self, caller: Caller, audience: str, now: int) -> str:
        claims = _Claims(
            iss=self.service,
            aud=audience,
            exp=now + TOKEN_LIFETIME_SECONDS,
            iat=now,
            kind=caller.kind,
            workspace_id=caller.workspace_id,
            owner=caller.owner,
            key_id=caller.key_id,
            scopes=list(caller.scopes),
            wallet_id=caller.wallet_id,
            claim_digest=caller.claim_digest,
        )
        header = {"alg": ALGORITHM, "typ": TOKEN_TYPE}
        return jws.serialize_compact(header, claims.model_dump_json(), self._key, registry=self._registry)

    def outgoing(self, caller: Caller | None) -> Caller:
        """How this service presents the caller in hand to the next service."""
        kind = CallerKind.OPERATOR if self.service == "operator" else CallerKind.SERVICE
        if caller is None:
            return Caller(kind, self.service)
        if self.service == "gateway" and caller.kind in (CallerKind.KEY, CallerKind.USER, CallerKind.GUEST):
            return caller
        return replace(caller, kind=kind, service=self.service)


class TokenVerifier:
    """Verifies caller tokens meant for one service."""

    def __init__(self, key: OKPKey, audience: str) -> None:
        self._key = key
        self._audience = audience
        self._registry = JWSRegistry(algorithms=[ALGORITHM])
        self._verified: dict[str, tuple[int, Caller]] = {}

    def verify(self, token: str) -> Caller:
        """The caller inside. Raises InvalidCallerToken."""
        now = time.time()
        cached = self._verified.get(token)
        if cached is not None and cached[0] + _CLOCK_LEEWAY_SECONDS > now:
            return cached[1]
        claims = self._read(token)
        self._check(claims, now)
        caller = claims.caller()
        if len(self._verified) >= _CACHE_SIZE:
            self._verified.clear()
        self._verified[token] = (claims.exp, caller)
        return caller

    def _read(self, token: str) -> _Claims:
        try:
            signed = jws.deserialize_compact(token.encode(), self._key, registry=self._registry)
            if signed.headers().get("typ") != TOKEN_TYPE:
                raise InvalidCallerToken
            return _Claims.model_validate_json(signed.payload or b"")
        except (JoseError, ValidationError, ValueError) as error:
            raise InvalidCallerToken from error

    def _check(self, claims: _Claims, now: float) -> None:
        fresh = claims.iat - _CLOCK_LEEWAY_SECONDS <= now <= claims.exp + _CLOCK_LEEWAY_SECONDS
        short = claims.exp - claims.iat <= TOKEN_LIFETIME_SECONDS
        if not (fresh and short and claims.aud == self._audience):
            raise InvalidCallerToken


def load_key(path: Path) -> OKPKey:
    """The mesh's Ed25519 private key, PEM. Raises OSError, ValueError."""
    return OKPKey.import_key(path.read_bytes())


def write_new_key(path: Path) -> None:
    """A fresh Ed25519 private key, readable by its owner only. Raises FileExistsError."""
    pem: bytes = OKPKey.generate_key("Ed25519").as_pem(private=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(pem)
