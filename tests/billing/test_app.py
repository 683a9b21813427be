"""Billing as it runs: its own process parts, real gRPC on loopback, a real bus."""

import asyncio
import dataclasses
import io
import json
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from services.billing.app import app
from services.billing.events import HOLDS
from services.billing.keys import PepperUnusable
from services.billing.settings import BillingSettings
from services.mesh.bus import open_bus
from services.mesh.channel import open_channel
from services.mesh.deliveries import Delivery
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as, load_key, write_new_key
from services.mesh.ids import new_id
from services.mesh.lifecycle import Lifecycle
from services.mesh.status import RemoteError, from_rpc_error
from services.mesh.streams import dead_subject, event_subject
from services.mesh.telemetry import configure_logging
from steno.billing.v1 import accounts_service_pb2 as accounts
from steno.billing.v1 import billing_service_pb2 as billing
from steno.billing.v1.accounts_service_pb2 import CreateApiKeyResponse
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub, AccountsServiceStub
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.billing_events_pb2 import KeyRevoked
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceAsyncStub, BillingServiceStub
from steno.billing.v1.ledger_pb2 import Hold
from steno.jobs.v1.jobs_events_pb2 import JobCancelled, JobFailed, JobSucceeded
from tests.billing.stage import MINUTE_MS, PLANS
from tests.servers import free_port, nats_server

DEADLINE_SECONDS = 20.0


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
async def running(directory: Path) -> AsyncIterator[Running]:
    """Billing with a key, a pepper, plans, a database and a bus of its own."""
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
        )
        async with app(settings, Lifecycle(5.0)), _stubs(settings, identity) as service:
            yield service


@asynccontextmanager
async def _stubs(settings: BillingSettings, identity: Path) -> AsyncIterator[Running]:
    key, address = load_key(identity), f"127.0.0.1:{settings.port}"

    def channel(service: str) -> Any:
        return open_channel(address, audience="billing", signer=TokenSigner(key, service), timeout_seconds=10.0)

    async with channel("jobs") as jobs, channel("operator") as operator, channel("gateway") as gateway:
        stubs = [stub(opened) for opened in (jobs, operator, gateway) for stub in (AccountsServiceStub, BillingServiceStub)]
        with calling_as(Caller(CallerKind.OPERATOR, "operator")):
            yield Running(settings, *stubs)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    """A running billing service."""
    async with running(tmp_path) as opened:
        yield opened


async def _refusal(call: Awaitable[object]) -> str:
    with pytest.raises(RemoteError) as refused:
        await call
    return refused.value.reason_name


async def test_a_key_identifies_its_workspace_until_it_is_revoked(service: Running) -> None:
    workspace_id = await service.new_workspace()
    made = await service.new_key(workspace_id, test=True)
    assert made.secret.startswith("sk_test_")
    assert made.secret.startswith(made.api_key.key_prefix)

    found = await service.accounts.Authenticate(accounts.AuthenticateRequest(api_key=made.secret))
    assert (found.workspace.id, found.api_key.id, found.plan.name) == (workspace_id, made.api_key.id, "small")
    revoked: asyncio.Queue[str] = asyncio.Queue()

    async def heard(delivery: Delivery) -> None:
        revoked.put_nowait(delivery.parse(KeyRevoked).api_key_id)

    async with open_bus(service.settings.nats_url, name="test") as bus, bus.watch(event_subject("billing", KeyRevoked), heard):
        with acting(workspace_id):
            for _ in range(2):
                await service.accounts.RevokeApiKey(accounts.RevokeApiKeyRequest(id=made.api_key.id))
            assert not (await service.accounts.ListApiKeys(accounts.ListApiKeysRequest())).api_keys
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await revoked.get() == made.api_key.id
    assert await _refusal(service.accounts.Authenticate(accounts.AuthenticateRequest(api_key=made.secret))) == "INVALID_API_KEY"


async def test_unknown_expired_and_revoked_keys_are_refused_alike(service: Running) -> None:
    workspace_id = await service.new_workspace()
    moment = Timestamp()
    moment.FromDatetime(datetime.now(UTC) + timedelta(seconds=1))
    expiring = await service.new_key(workspace_id, expire_time=moment)
    revoked = await service.new_key(workspace_id)
    with acting(workspace_id):
        await service.accounts.RevokeApiKey(accounts.RevokeApiKeyRequest(id=revoked.api_key.id))

    async def error_of(secret: str) -> tuple[str, str, dict[str, str]] | None:
        try:
            await service.accounts.Authenticate(accounts.AuthenticateRequest(api_key=secret))
        except RemoteError as error:
            return error.reason_name, error.message, error.metadata
        return None

    async def expired() -> bool:
        return await error_of(expiring.secret) is not None

    await until(expired, "the key to expire")
    secrets = (expiring.secret, revoked.secret, "sk_live_" + "0" * 32, "", "Ω" * 500, revoked.secret + "x")
    errors = [await error_of(secret) for secret in secrets]
    assert errors == [("INVALID_API_KEY", "The API key is unknown, revoked or expired.", {})] * len(secrets)


async def test_secrets_are_neither_stored_nor_logged(tmp_path: Path) -> None:
    written = io.StringIO()
    configure_logging("billing", "debug", "json", written)
    try:
        async with running(tmp_path) as service:
            made = await service.new_key(await service.new_workspace())
            await service.accounts.Authenticate(accounts.AuthenticateRequest(api_key=made.secret))
            files = [path for path in tmp_path.rglob("*") if path.is_file()]
            stored = b"".join(path.read_bytes() for path in files)
        assert made.api_key.key_prefix.encode() in stored
        assert made.secret.encode() not in stored
        assert made.secret[len("sk_live_") :].encode() not in stored
        assert json.loads(written.getvalue().splitlines()[-1])
        assert made.secret not in written.getvalue()
        assert made.secret.removeprefix(made.api_key.key_prefix) not in written.getvalue()
    finally:
        logging.getLogger().handlers.clear()


async def test_an_internal_caller_may_present_an_api_key(service: Running) -> None:
    workspace_id = await service.new_workspace()
    secret = (await service.new_key(workspace_id)).secret
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.settings.port}") as channel:
        stub: Any = AccountsServiceStub(channel)
        answer = await stub.GetWorkspace(accounts.GetWorkspaceRequest(), metadata=(("x-api-key", secret),), timeout=5)
        assert (answer.workspace.id, answer.plan.tier) == (workspace_id, "free")
        ledger: Any = BillingServiceStub(channel)
        for metadata, reason in (((("x-api-key", secret),), "ACCESS_DENIED"), ((), "MISSING_CREDENTIALS")):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ledger.Reserve(billing.ReserveRequest(), metadata=metadata, timeout=5)
            assert from_rpc_error(refused.value).reason_name == reason


async def test_the_time_of_last_use_is_stored_to_the_minute_at_the_latest_when_billing_stops(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        secret = (await service.new_key(await service.new_workspace())).secret
        await service.accounts.Authenticate(accounts.AuthenticateRequest(api_key=secret))
    with closing(sqlite3.connect(tmp_path / "billing.db")) as database:
        ((used,),) = database.execute("SELECT last_use_time FROM api_key").fetchall()
    assert used % 60_000_000 == 0
    assert abs(time.time() - used / 1e6) < 120


async def test_keys_are_listed_newest_first_in_pages(service: Running) -> None:
    workspace_id = await service.new_workspace()
    made = [(await service.new_key(workspace_id)).api_key.id for _ in range(5)]
    listed, token = list[str](), ""
    with acting(workspace_id):
        while not listed or token:
            page = await service.accounts.ListApiKeys(accounts.ListApiKeysRequest(page_size=2, page_token=token))
            listed, token = [*listed, *(key.id for key in page.api_keys)], page.next_page_token
    assert listed == made[::-1]


async def test_guests_and_limited_keys_cannot_manage_keys(service: Running) -> None:
    workspace_id = await service.new_workspace()
    limited = Caller(CallerKind.KEY, "gateway", workspace_id, "workspace", scopes=("transcribe",))
    guest = Caller(CallerKind.KEY, "gateway", workspace_id, f"guest:{new_id()}")
    for caller in (limited, guest):
        with calling_as(caller):
            calls = (
                service.gateway.CreateApiKey(accounts.CreateApiKeyRequest(name="more")),
                service.gateway.ListApiKeys(accounts.ListApiKeysRequest()),
                service.gateway.RevokeApiKey(accounts.RevokeApiKeyRequest(id=new_id())),
            )
            assert [await _refusal(call) for call in calls] == ["ACCESS_DENIED"] * 3
    with calling_as(dataclasses.replace(limited, scopes=())):
        made = await service.gateway.CreateApiKey(accounts.CreateApiKeyRequest(name="app", kind=ApiKey.KIND_APP, scopes=["b", "a"]))
    assert (made.api_key.kind, list(made.api_key.scopes)) == (ApiKey.KIND_APP, ["a", "b"])


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
        assert [await _refusal(call()) for call in for_services] == ["ACCESS_DENIED"] * len(for_services)
    with acting(workspace_id):
        assert [await _refusal(call()) for call in for_operators] == ["ACCESS_DENIED"] * len(for_operators)
    with acting(""):
        assert await _refusal(service.billing.Reserve(billing.ReserveRequest(job_id=new_id(), amount_ms=1))) == "ACCESS_DENIED"
        assert await _refusal(service.billing.GetBalance(billing.GetBalanceRequest())) == "ACCESS_DENIED"


async def test_every_refusal_names_its_reason(service: Running) -> None:
    workspace_id, settled, released = await service.new_workspace(), new_id(), new_id()
    for job_id in (settled, released):
        await service.reserve(workspace_id, job_id)
    ledger = service.billing
    await ledger.Settle(billing.SettleRequest(job_id=settled, billable_ms=MINUTE_MS))
    await ledger.Release(billing.ReleaseRequest(job_id=released))
    unknown = new_id()
    with acting(workspace_id):
        refused: dict[str, Awaitable[object]] = {
            "NO_CREDITS": ledger.Reserve(billing.ReserveRequest(job_id=unknown, amount_ms=MINUTE_MS * 101)),
            "HOLD_NOT_FOUND": ledger.Settle(billing.SettleRequest(job_id=unknown, billable_ms=1)),
            "HOLD_ALREADY_SETTLED": ledger.Release(billing.ReleaseRequest(job_id=settled)),
            "HOLD_ALREADY_RELEASED": ledger.Settle(billing.SettleRequest(job_id=released, billable_ms=1)),
            "API_KEY_NOT_FOUND": service.accounts.RevokeApiKey(accounts.RevokeApiKeyRequest(id=unknown)),
            "INVALID_PAGE_TOKEN": ledger.ListTransfers(billing.ListTransfersRequest(page_token="abc")),
            "INVALID_FIELD": ledger.Reserve(billing.ReserveRequest(job_id=unknown, amount_ms=0)),
        }
        assert {reason: await _refusal(call) for reason, call in refused.items()} == {reason: reason for reason in refused}
    with acting(unknown):
        assert await _refusal(service.accounts.GetWorkspace(accounts.GetWorkspaceRequest())) == "WORKSPACE_NOT_FOUND"
        assert await _refusal(ledger.GetBalance(billing.GetBalanceRequest())) == "WORKSPACE_NOT_FOUND"
    assert await _refusal(service.operator.CreateWorkspace(accounts.CreateWorkspaceRequest(name="x", plan="gold"))) == "UNKNOWN_PLAN"


async def test_fields_out_of_range_are_refused_by_name(service: Running) -> None:
    workspace_id, ledger, operator = await service.new_workspace(), service.billing, service.operator_billing
    past = Timestamp(seconds=1)
    with acting(workspace_id):
        calls: list[tuple[str, Awaitable[object]]] = [
            ("job_id", ledger.Reserve(billing.ReserveRequest(job_id="1", amount_ms=1))),
            ("amount_ms", ledger.Reserve(billing.ReserveRequest(job_id=new_id(), amount_ms=2**62))),
            ("billable_ms", ledger.Settle(billing.SettleRequest(job_id=new_id(), billable_ms=-1))),
            ("page_size", ledger.ListOpenHolds(billing.ListOpenHoldsRequest(page_size=1001))),
            ("create_time_before", ledger.ListOpenHolds(billing.ListOpenHoldsRequest(create_time_before=Timestamp(seconds=2**60)))),
            ("expire_time", service.accounts.CreateApiKey(accounts.CreateApiKeyRequest(name="x", expire_time=past))),
            ("name", service.accounts.CreateApiKey(accounts.CreateApiKeyRequest(name="a\0b"))),
            ("kind", service.accounts.CreateApiKey(accounts.CreateApiKeyRequest(name="x", kind=ApiKey.Kind.ValueType(9)))),
            ("scopes", service.accounts.CreateApiKey(accounts.CreateApiKeyRequest(name="x", scopes=["A B"]))),
        ]
        for field, call in calls:
            with pytest.raises(RemoteError) as refused:
                await call
            assert (refused.value.reason_name, refused.value.metadata["field"]) == ("INVALID_FIELD", field)
    grant = billing.GrantCreditRequest(workspace_id=workspace_id, amount_ms=1, id="no spaces")
    assert await _refusal(operator.GrantCredit(grant)) == "INVALID_FIELD"


async def test_credit_can_be_followed_through_the_api(service: Running) -> None:
    workspace_id = await service.new_workspace()
    grant = billing.GrantCreditRequest(workspace_id=workspace_id, amount_ms=5 * MINUTE_MS, id="order-7")
    for _ in range(2):
        assert (await service.operator_billing.GrantCredit(grant)).balance.available_ms == 105 * MINUTE_MS
    jobs = [new_id() for _ in range(3)]
    for job_id in jobs:
        assert (await service.reserve(workspace_id, job_id)).state == Hold.STATE_OPEN
    with acting(""):
        first = await service.billing.ListOpenHolds(billing.ListOpenHoldsRequest(page_size=2))
        rest = await service.billing.ListOpenHolds(billing.ListOpenHoldsRequest(page_size=2, page_token=first.next_page_token))
    assert [hold.job_id for hold in (*first.holds, *rest.holds)] == jobs
    assert rest.next_page_token == ""
    settled = (await service.billing.Settle(billing.SettleRequest(job_id=jobs[0], billable_ms=4 * MINUTE_MS))).hold
    assert (settled.state, settled.settled_ms) == (Hold.STATE_SETTLED, 4 * MINUTE_MS)
    assert await service.balance(workspace_id) == (81, 20, 4)
    with acting(workspace_id):
        listed, token = list[str](), ""
        while not listed or token:
            page = await service.billing.ListTransfers(billing.ListTransfersRequest(page_size=2, page_token=token))
            listed, token = [*listed, *(transfer.id for transfer in page.transfers)], page.next_page_token
    assert listed[0] == f"settlement:{jobs[0]}"
    assert sorted(listed[1:4]) == sorted(f"hold:{job_id}" for job_id in jobs)
    assert len(listed) == len(set(listed)) == 6
    found = await service.operator_billing.VerifyLedger(billing.VerifyLedgerRequest())
    assert (found.imbalance_ms, found.wrong_account_count, found.transfer_count, found.open_hold_count) == (0, 0, 6, 2)


async def test_the_end_of_a_job_ends_its_hold_once(service: Running) -> None:
    workspace_id = await service.new_workspace()
    jobs = [new_id() for _ in range(4)]
    for job_id in jobs:
        await service.reserve(workspace_id, job_id)
    charged, silent, failed, cancelled = jobs
    events = [
        JobSucceeded(job_id=charged, workspace_id=workspace_id, billable_ms=7 * MINUTE_MS),
        JobSucceeded(job_id=silent, workspace_id=workspace_id, billable_ms=0),
        JobFailed(job_id=failed, workspace_id=workspace_id),
        JobCancelled(job_id=cancelled, workspace_id=workspace_id),
    ]
    async with open_bus(service.settings.nats_url, name="test") as bus:
        for _ in range(2):
            for event in events:
                await bus.publish(event_subject("jobs", type(event)), event, event_id=new_id())

        async def drained() -> bool:
            pending = await bus.pending(HOLDS)
            return pending.waiting == pending.outstanding == 0

        await until(drained, "the events to be taken")
    assert await service.balance(workspace_id) == (93, 0, 7)


async def test_events_that_can_never_succeed_are_buried_with_their_reason(service: Running) -> None:
    workspace_id, job_id = await service.new_workspace(), new_id()
    await service.reserve(workspace_id, job_id)
    hopeless = [
        JobSucceeded(job_id=new_id(), workspace_id=workspace_id, billable_ms=1),
        JobFailed(job_id=job_id, workspace_id=new_id()),
        JobSucceeded(job_id=job_id, workspace_id=workspace_id, billable_ms=-1),
    ]
    buried: asyncio.Queue[str] = asyncio.Queue()

    async def heard(delivery: Delivery) -> None:
        buried.put_nowait(delivery.message_type)

    async with open_bus(service.settings.nats_url, name="test") as bus, bus.watch(dead_subject(HOLDS.name), heard):
        for event in hopeless:
            await bus.publish(event_subject("jobs", type(event)), event, event_id=new_id())
        async with asyncio.timeout(DEADLINE_SECONDS):
            types = [await buried.get() for _ in hopeless]
    assert sorted(types) == ["steno.jobs.v1.JobFailed", "steno.jobs.v1.JobSucceeded", "steno.jobs.v1.JobSucceeded"]
    assert await service.balance(workspace_id) == (90, 10, 0)


async def test_billing_does_not_start_without_its_pepper(tmp_path: Path) -> None:
    settings = BillingSettings(pepper_file=tmp_path / "pepper", database_url=f"sqlite+aiosqlite:///{tmp_path}/billing.db")
    with pytest.raises(PepperUnusable, match="pepper"):
        async with app(settings, Lifecycle()):
            pass
    assert not (tmp_path / "billing.db").exists()
