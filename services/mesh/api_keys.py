"""API keys of internal callers: resolved through billing, remembered for seconds, forgotten when revoked."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.mesh.bus import Bus
from services.mesh.channel import open_channel
from services.mesh.deliveries import Delivery
from services.mesh.errors import InvalidApiKey
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as
from services.mesh.interceptors import Authenticate
from services.mesh.memory import MAX_REMEMBERED, Memory
from services.mesh.status import RemoteError, is_remote
from services.mesh.streams import event_subject
from services.mesh.tls.certificates import Certificates
from steno.billing.v1 import accounts_service_pb2
from steno.billing.v1.accounts_service_pb2 import AuthenticateRequest, AuthenticateResponse
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub, AccountsServiceStub
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.billing_events_pb2 import KeyRevoked

REMEMBER_SECONDS = 5.0
_ACCOUNTS = accounts_service_pb2.DESCRIPTOR.services_by_name["AccountsService"]


class ApiKeys:
    """Answers of billing by the key's digest; secrets are not kept."""

    def __init__(
        self, accounts: AccountsServiceAsyncStub, *, remember_seconds: float = REMEMBER_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._accounts = accounts
        self._answers: Memory[bytes, AuthenticateResponse] = Memory(remember_seconds, clock)
        self._revoked: OrderedDict[str, None] = OrderedDict()

    async def resolve(self, secret: str) -> AuthenticateResponse:
        """The key, its workspace and its plan. Raises RemoteError: INVALID_API_KEY, or billing does not answer."""

        async def ask() -> AuthenticateResponse:
            return await self._accounts.Authenticate(AuthenticateRequest(api_key=secret))

        digest = hashlib.sha256(secret.encode()).digest()
        return await self._answers.recall(digest, ask, keep=lambda answer: answer.api_key.id not in self._revoked)

    def forget(self, key_id: str) -> None:
        """Drop a revoked key; an answer about it that is still on its way is not remembered."""
        self._revoked[key_id] = None
        if len(self._revoked) > MAX_REMEMBERED:
            self._revoked.popitem(last=False)
        self._answers.forget(lambda answer: answer.api_key.id == key_id)

    async def forget_revoked(self, delivery: Delivery) -> None:
        """Drop the key that a KeyRevoked event names."""
        self.forget(delivery.parse(KeyRevoked).api_key_id)


def caller_of(answer: AuthenticateResponse, service: str) -> Caller:
    """Whom a key's holder acts for: its workspace, or, with an app key and no further proof, a guest of that key."""
    key = answer.api_key
    guest = key.kind == ApiKey.KIND_APP
    kind, owner = (CallerKind.GUEST, f"guest:{key.id}") if guest else (CallerKind.KEY, "workspace")
    return Caller(kind, service, key.workspace_id, owner, key.id, tuple(key.scopes))


@asynccontextmanager
async def open_authentication(
    billing_address: str, signer: TokenSigner, bus: Bus, timeout_seconds: float, tls: Certificates | None = None
) -> AsyncIterator[Authenticate]:
    """What `open_server` asks about API keys."""
    opened = open_channel(
        billing_address, audience="billing", signer=signer, services=[_ACCOUNTS], timeout_seconds=timeout_seconds, tls=tls
    )
    async with opened as channel:
        keys = ApiKeys(AccountsServiceStub(channel))

        async def authenticate(secret: str) -> Caller:
            try:
                with calling_as(Caller(CallerKind.SERVICE, signer.service)):
                    answer = await keys.resolve(secret)
            except RemoteError as error:
                if is_remote(error, InvalidApiKey.reason()):
                    raise InvalidApiKey from error
                raise
            return caller_of(answer, signer.service)

        async with bus.watch(event_subject("billing", KeyRevoked), keys.forget_revoked):
            yield authenticate
