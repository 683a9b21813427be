"""From an API key to a client."""

from collections.abc import Iterable

from services.gateway.domain import Client, Reason, Refusal
from services.mesh.api_keys import ApiKeys, caller_of
from services.mesh.identity import CallerKind

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
    """From a secret to the client that holds it."""

    def __init__(self, keys: ApiKeys, *, guest_retention_days: int) -> None:
        self._keys = keys
        self._guest_retention_days = guest_retention_days

    async def resolve(self, secret: str) -> Client:
        """The client behind a secret. Raises RemoteError: INVALID_API_KEY, or billing is down."""
        answer = await self._keys.resolve(secret)
        caller, plan = caller_of(answer, "gateway"), answer.plan
        if caller.kind is CallerKind.GUEST:
            return Client(caller, "guest", 0, self._guest_retention_days, plan)
        return Client(caller, plan.tier, plan.tier_level, plan.retention_days, plan)
