"""Billing as a process: its start, its end, who may call what."""

import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from services.billing.app import app
from services.billing.keys import PepperUnusable
from services.billing.settings import BillingSettings
from services.mesh.identity import Caller, CallerKind, calling_as
from services.mesh.ids import new_id
from services.mesh.lifecycle import Lifecycle
from steno.billing.v1 import accounts_service_pb2 as accounts
from steno.billing.v1 import billing_service_pb2 as billing
from tests.billing.service import Running, acting, refusal, running


async def test_every_method_asks_for_its_access(service: Running) -> None:
    workspace_id = await service.new_workspace()
    for_services: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: service.gateway_billing.Reserve(billing.ReserveRequest()),
        lambda: service.gateway_billing.Settle(billing.SettleRequest()),
        lambda: service.gateway_billing.Release(billing.ReleaseRequest()),
        lambda: service.gateway_billing.ListOpenHolds(billing.ListOpenHoldsRequest()),
        lambda: service.gateway.Authenticate(accounts.AuthenticateRequest()),
    )
    for_operators: tuple[Callable[[], Awaitable[object]], ...] = (
        lambda: service.billing.GrantCredit(billing.GrantCreditRequest()),
        lambda: service.billing.VerifyLedger(billing.VerifyLedgerRequest()),
        lambda: service.accounts.CreateWorkspace(accounts.CreateWorkspaceRequest()),
    )
    with calling_as(Caller(CallerKind.KEY, "gateway", workspace_id, "workspace")):
        assert [await refusal(call()) for call in for_services] == ["ACCESS_DENIED"] * len(for_services)
    with acting(workspace_id):
        assert [await refusal(call()) for call in for_operators] == ["ACCESS_DENIED"] * len(for_operators)
    with acting(""):
        assert await refusal(service.billing.Reserve(billing.ReserveRequest(job_id=new_id(), amount_ms=1))) == "ACCESS_DENIED"
        assert await refusal(service.billing.GetBalance(billing.GetBalanceRequest())) == "ACCESS_DENIED"


async def test_the_time_of_last_use_is_stored_to_the_minute_at_the_latest_when_billing_stops(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        secret = (await service.new_key(await service.new_workspace())).secret
        await service.accounts.Authenticate(accounts.AuthenticateRequest(api_key=secret))
    with closing(sqlite3.connect(tmp_path / "billing.db")) as database:
        ((used,),) = database.execute("SELECT last_use_time FROM api_key").fetchall()
    assert used % 60_000_000 == 0
    assert abs(time.time() - used / 1e6) < 120


async def test_billing_does_not_start_without_its_pepper(tmp_path: Path) -> None:
    settings = BillingSettings(pepper_file=tmp_path / "pepper", database_url=f"sqlite+aiosqlite:///{tmp_path}/billing.db")
    with pytest.raises(PepperUnusable, match="pepper"):
        async with app(settings, Lifecycle()):
            pass
    assert not (tmp_path / "billing.db").exists()
