"""Billing as it runs: its own process parts, real gRPC on loopback, a real bus."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.billing.app import app
from services.billing.settings import BillingSettings
from services.mesh.channel import open_channel
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as, load_key, write_new_key
from services.mesh.lifecycle import Lifecycle
from services.mesh.status import RemoteError
from steno.billing.v1 import accounts_service_pb2 as accounts
from steno.billing.v1 import billing_service_pb2 as billing
from steno.billing.v1.accounts_service_pb2 import CreateApiKeyResponse
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub, AccountsServiceStub
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceAsyncStub, BillingServiceStub
from steno.billing.v1.ledger_pb2 import Hold
from steno.billing.v1.payments_service_pb2_grpc import PaymentsServiceAsyncStub, PaymentsServiceStub
from tests.billing.stage import MINUTE_MS, PLANS
from tests.servers import free_port, nats_server

DEADLINE_SECONDS = 60.0


@dataclass
class Running:
    """A running billing service, and stubs of whoever calls it."""

    settings: BillingSettings
    accounts: AccountsServiceAsyncStub
    billing: BillingServiceAsyncStub
    operator: AccountsServiceAsyncStub
    operator_billing: BillingServiceAsyncStub
    gateway: AccountsServiceAsyncStub
    gateway_billing: BillingServiceAsyncStub
    payments: PaymentsServiceAsyncStub

    async def new_workspace(self) -> str:
        """Id of a workspace with 100 minutes."""
        response = await self.operator.CreateWorkspace(accounts.CreateWorkspaceRequest(name="Acoustics lab"))
        return response.workspace.id

    async def new_key(self, workspace_id: str, **fields: Any) -> CreateApiKeyResponse:
        """A key made by the operator."""
        with calling_as(Caller(CallerKind.OPERATOR, "operator", workspace_id, "workspace")):
            return await self.operator.CreateApiKey(accounts.CreateApiKeyRequest(name="ci", **fields))

    async def reserve(self, workspace_id: str, job_id: str, minutes: int = 10) -> Hold:
        """A hold taken by jobs."""
        with acting(workspace_id):
            request = billing.ReserveRequest(job_id=job_id, amount_ms=minutes * MINUTE_MS)
            return (await self.billing.Reserve(request)).hold

    async def balance(self, workspace_id: str) -> tuple[int, int, int]:
        """Available, held and used minutes."""
        with acting(workspace_id):
            balance = (await self.billing.GetBalance(billing.GetBalanceRequest())).balance
        return balance.available_ms // MINUTE_MS, balance.held_ms // MINUTE_MS, balance.used_ms // MINUTE_MS


def acting(workspace_id: str) -> Any:
    """Calls are the jobs service's, for this workspace."""
    return calling_as(Caller(CallerKind.SERVICE, "jobs", workspace_id, "workspace"))


async def until(ask: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait until the question is answered with yes."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not await ask():
        assert time.monotonic() < end, f"waited too long for {what}"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(directory: Path, **more: Any) -> AsyncIterator[Running]:
    """Billing with a key, a pepper, plans, a database and a bus of its own. more: further settings."""
    identity, pepper, plans = directory / "identity.pem", directory / "pepper", directory / "plans.toml"
    write_new_key(identity)
    pepper.touch(0o600)
    pepper.write_bytes(b"p" * 32)
    plans.write_text(PLANS)
    async with nats_server(directory / "nats") as nats:
        settings = BillingSettings(
            port=free_port(),
            database_url=f"sqlite+aiosqlite:///{directory}/billing.db",
            nats_url=nats.url,
            identity_key_file=identity,
            pepper_file=pepper,
            plans_file=plans,
            **more,
        )
        async with app(settings, Lifecycle(5.0)), _stubs(settings, identity) as service:
            yield service


@asynccontextmanager
async def _stubs(settings: BillingSettings, identity: Path) -> AsyncIterator[Running]:
    key, address = load_key(identity), f"127.0.0.1:{settings.port}"

    def channel(service: str) -> Any:
        return open_channel(address, audience="billing", signer=TokenSigner(key, service), timeout_seconds=60.0)

    async with channel("jobs") as jobs, channel("operator") as operator, channel("gateway") as gateway:
        stubs: list[Any] = [stub(opened) for opened in (jobs, operator, gateway) for stub in (AccountsServiceStub, BillingServiceStub)]
        stubs.append(PaymentsServiceStub(gateway))
        with calling_as(Caller(CallerKind.OPERATOR, "operator")):
            yield Running(settings, *stubs)


async def refusal(call: Awaitable[object]) -> str:
    """Why a call is refused."""
    with pytest.raises(RemoteError) as refused:
        await call
    return refused.value.reason_name
