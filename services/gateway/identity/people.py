"""Users, anonymous buyers and members as billing knows them, remembered for seconds."""

import hashlib
import time
from collections.abc import Callable

from services.mesh.identity import acting_for
from services.mesh.memory import Memory
from steno.billing.v1.accounts_service_pb2 import (
    GetPlanRequest,
    GetPlanResponse,
    ResolveGuestRequest,
    ResolveGuestResponse,
    ResolveUserRequest,
    ResolveUserResponse,
)
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub


class People:
    """Asks billing, in the name of a workspace, who somebody is there. Guest tokens are remembered by digest."""

    def __init__(self, accounts: AccountsServiceAsyncStub, *, remember_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts = accounts
        self._users: Memory[tuple[str, str], ResolveUserResponse] = Memory(remember_seconds, clock)
        self._guests: Memory[tuple[str, str], ResolveGuestResponse] = Memory(remember_seconds, clock)
        self._plans: Memory[str, GetPlanResponse] = Memory(remember_seconds, clock)

    async def user(self, workspace_id: str, email: str) -> ResolveUserResponse:
        """The user of a proven address, made when new. Raises RemoteError."""

        async def ask() -> ResolveUserResponse:
            with acting_for(workspace_id):
                return await self._accounts.ResolveUser(ResolveUserRequest(email=email))

        return await self._users.recall((workspace_id, email), ask)

    async def guest(self, workspace_id: str, guest_token: str) -> ResolveGuestResponse:
        """The wallet of an anonymous buyer. Raises RemoteError: INVALID_GUEST_TOKEN, or billing does not answer."""

        async def ask() -> ResolveGuestResponse:
            with acting_for(workspace_id):
                return await self._accounts.ResolveGuest(ResolveGuestRequest(guest_token=guest_token))

        digest = hashlib.sha256(guest_token.encode()).hexdigest()
        return await self._guests.recall((workspace_id, digest), ask)

    async def plan(self, workspace_id: str) -> GetPlanResponse:
        """The plan that a workspace itself is on. Raises RemoteError."""

        async def ask() -> GetPlanResponse:
            with acting_for(workspace_id):
                return await self._accounts.GetPlan(GetPlanRequest())

        return await self._plans.recall(workspace_id, ask)
