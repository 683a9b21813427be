"""From an API key to a client: the answer of billing, remembered for seconds."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

from services.gateway.domain import Client, Reason, Refusal
from services.mesh.identity import Caller, CallerKind
from steno.billing.v1.accounts_service_pb2 import AuthenticateRequest, AuthenticateResponse
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub
from steno.billing.v1.api_key_pb2 import ApiKey

_MAX_REMEMBERED = 10_000
_MAX_KEY_BYTES = 256
_SECRET_PREFIX = b"sk_"
Headers = Iterable[tuple[bytes, bytes]]


def read_api_key(headers: Headers) -> str:
    """The secret in X-API-Key, or in Authorization as a bearer token that starts with sk_. Raises Refusal."""
    sent: set[bytes] = set()
    for name, value in headers:
        if name == b"x-api-key":
            sent.add(value)
        elif name == b"authorization" and (token := _bearer(value)).startswith(_SECRET_PREFIX):
            sent.add(token)
    sent.discard(b"")
    if not sent:
        raise Refusal(Reason.MISSING_API_KEY)
    secret = sent.pop()
    if sent or len(secret) > _MAX_KEY_BYTES or not secret.isascii() or b" " in secret:
        raise Refusal(Reason.INVALID_API_KEY)
    return secret.decode("ascii")


def _bearer(value: bytes) -> bytes:
    scheme, _, token = value.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else b""


class Authenticator:
    """Resolves API keys through billing. Secrets are remembered as digests only."""

    def __init__(
        self,
        accounts: AccountsServiceAsyncStub,
        *,
        remember_seconds: float,
        guest_retention_days: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts = accounts
        self._remember_seconds = remember_seconds
        self._guest_retention_days = guest_retention_days
        self._clock = clock
        self._remembered: OrderedDict[bytes, tuple[float, Client]] = OrderedDict()

    async def resolve(self, secret: str) -> Client:
        """The client behind a secret. Raises RemoteError: INVALID_API_KEY, or billing is down."""
        digest = hashlib.sha256(secret.encode()).digest()
        known = self._remembered.get(digest)
        if known is not None and known[0] > self._clock():
            return known[1]
        asked = self._clock()
        client = self._client(await self._accounts.Authenticate(AuthenticateRequest(api_key=secret)))
        self._remember(digest, asked, client)
        return client

    def forget(self, key_id: str) -> None:
        """Drop a revoked key."""
        revoked = [digest for digest, (_, client) in self._remembered.items() if client.caller.key_id == key_id]
        for digest in revoked:
            del self._remembered[digest]

    def _remember(self, digest: bytes, asked: float, client: Client) -> None:
        self._remembered.pop(digest, None)
        self._remembered[digest] = (asked + self._remember_seconds, client)
        if len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    def _client(self, answer: AuthenticateResponse) -> Client:
        key, plan = answer.api_key, answer.plan
        if key.kind == ApiKey.KIND_APP:
            caller = Caller(CallerKind.GUEST, "gateway", key.workspace_id, f"guest:{key.id}", key.id, tuple(key.scopes))
            return Client(caller, "guest", 0, self._guest_retention_days, plan)
        caller = Caller(CallerKind.KEY, "gateway", key.workspace_id, "workspace", key.id, tuple(key.scopes))
        return Client(caller, plan.tier, plan.tier_level, plan.retention_days, plan)
