"""Users, anonymous buyers and members as billing knows them, remembered for seconds."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from services.mesh.identity import acting_for
from steno.billing.v1.accounts_service_pb2 import (
    GetPlanRequest,
    GetPlanResponse,
    ResolveGuestRequest,
    ResolveGuestResponse,
    ResolveUserRequest,
    ResolveUserResponse,
)
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub

_MAX_REMEMBERED = 10_000
Answer = TypeVar("Answer")


class Memory(Generic[Answer]):
    """Answers by what was asked, for a few seconds; past ten thousand the oldest go first."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._answers: OrderedDict[tuple[str, str], tuple[float, Answer]] = OrderedDict()

    async def recall(self, question: tuple[str, str], ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The remembered answer, or the one that `ask` gives now."""
        known = self._answers.get(question)
        if known is not None and known[0] > self._clock():
            return known[1]
        asked = self._clock()
        answer = await ask()
        self._answers.pop(question, None)
        self._answers[question] = (asked + self._seconds, answer)
        if len(self._answers) > _MAX_REMEMBERED:
            self._answers.popitem(last=False)
        return answer


class People:
    """Asks billing, in the name of a workspace, who somebody is there. Guest tokens are remembered by digest."""

    def __init__(self, accounts: AccountsServiceAsyncStub, *, remember_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts = accounts
        self._users: Memory[ResolveUserResponse] = Memory(remember_seconds, clock)
        self._guests: Memory[ResolveGuestResponse] = Memory(remember_seconds, clock)
        self._plans: Memory[GetPlanResponse] = Memory(remember_seconds, clock)

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

        return await self._plans.recall((workspace_id, ""), ask)
