"""Keys and workspaces over gRPC."""

import asyncio
import dataclasses
import io
import json
import logging
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from services.mesh.bus import open_bus
from services.mesh.deliveries import Delivery
from services.mesh.identity import Caller, CallerKind, calling_as
from services.mesh.ids import new_id
from services.mesh.status import RemoteError, from_rpc_error
from services.mesh.streams import event_subject
from services.mesh.telemetry import configure_logging
from steno.billing.v1 import accounts_service_pb2 as accounts
from steno.billing.v1 import billing_service_pb2 as billing
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceStub
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.billing_events_pb2 import KeyRevoked
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceStub
from tests.billing.service import DEADLINE_SECONDS, Running, acting, refusal, running, until


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
    assert await refusal(service.accounts.Authenticate(accounts.AuthenticateRequest(api_key=made.secret))) == "INVALID_API_KEY"


@pytest.mark.parametrize("key_id", ["", "1", "a\0", "x" * 10_000, str(uuid.uuid4())])
async def test_id_that_no_key_can_have_is_not_found(service: Running, key_id: str) -> None:
    with acting(await service.new_workspace()):
        assert await refusal(service.accounts.RevokeApiKey(accounts.RevokeApiKeyRequest(id=key_id))) == "API_KEY_NOT_FOUND"


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
        answer = await stub.GetWorkspace(accounts.GetWorkspaceRequest(), metadata=(("x-api-key", secret),), timeout=60)
        assert (answer.workspace.id, answer.plan.tier) == (workspace_id, "free")
        ledger: Any = BillingServiceStub(channel)
        for metadata, reason in (((("x-api-key", secret),), "ACCESS_DENIED"), ((), "MISSING_CREDENTIALS")):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ledger.Reserve(billing.ReserveRequest(), metadata=metadata, timeout=60)
            assert from_rpc_error(refused.value).reason_name == reason


async def test_an_app_key_presented_inside_the_mesh_is_a_guest(service: Running) -> None:
    secret = (await service.new_key(await service.new_workspace(), kind=ApiKey.KIND_APP)).secret
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.settings.port}") as channel:
        stub: Any = AccountsServiceStub(channel)
        metadata = (("x-api-key", secret),)
        assert (await stub.GetPlan(accounts.GetPlanRequest(), metadata=metadata, timeout=60)).plan.name == "guest"
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListApiKeys(accounts.ListApiKeysRequest(), metadata=metadata, timeout=60)
        assert from_rpc_error(refused.value).reason_name == "ACCESS_DENIED"


async def test_an_app_key_tells_guests_nothing_of_what_its_workspace_has_and_spends(service: Running) -> None:
    secret = (await service.new_key(await service.new_workspace(), kind=ApiKey.KIND_APP)).secret
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.settings.port}") as channel:
        ledger: Any = BillingServiceStub(channel)
        metadata = (("x-api-key", secret),)
        asked = {
            ledger.GetBalance: billing.GetBalanceRequest(),
            ledger.GetUsage: billing.GetUsageRequest(),
            ledger.ListTransfers: billing.ListTransfersRequest(),
        }
        for method, request in asked.items():
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await method(request, metadata=metadata, timeout=60)
            assert from_rpc_error(refused.value).reason_name == "ACCESS_DENIED"


async def test_keys_are_listed_newest_first_in_pages(service: Running) -> None:
    workspace_id = await service.new_workspace()
    made = [(await service.new_key(workspace_id)).api_key.id for _ in range(5)]
    listed, token = list[str](), ""
    with acting(workspace_id):
        while not listed or token:
            page = await service.accounts.ListApiKeys(accounts.ListApiKeysRequest(page_size=2, page_token=token))
            listed, token = [*listed, *(key.id for key in page.api_keys)], page.next_page_token
    assert listed == made[::-1]


async def test_guests_users_and_keys_without_admin_cannot_manage_keys(service: Running) -> None:
    workspace_id = await service.new_workspace()
    limited = Caller(CallerKind.KEY, "gateway", workspace_id, "workspace", scopes=("read", "write"))
    guest = Caller(CallerKind.GUEST, "gateway", workspace_id, f"guest:{new_id()}")
    user = Caller(CallerKind.USER, "gateway", workspace_id, f"user:{new_id()}", wallet_id=new_id())
    for caller, reason in ((limited, "INSUFFICIENT_SCOPE"), (guest, "ACCESS_DENIED"), (user, "ACCESS_DENIED")):
        with calling_as(caller):
            calls = (
                service.gateway.CreateApiKey(accounts.CreateApiKeyRequest(name="more")),
                service.gateway.ListApiKeys(accounts.ListApiKeysRequest()),
                service.gateway.RevokeApiKey(accounts.RevokeApiKeyRequest(id=new_id())),
            )
            assert [await refusal(call) for call in calls] == [reason] * 3
    with calling_as(dataclasses.replace(limited, scopes=())):
        request = accounts.CreateApiKeyRequest(name="app", kind=ApiKey.KIND_APP, scopes=["write", "act_as_user"])
        made = await service.gateway.CreateApiKey(request)
    assert (made.api_key.kind, list(made.api_key.scopes)) == (ApiKey.KIND_APP, ["act_as_user", "write"])
    with calling_as(dataclasses.replace(limited, scopes=("admin", "read"))):
        for scopes in ([], ["write"]):
            request = accounts.CreateApiKeyRequest(name="more", scopes=scopes)
            assert await refusal(service.gateway.CreateApiKey(request)) == "INSUFFICIENT_SCOPE"
        assert (await service.gateway.CreateApiKey(accounts.CreateApiKeyRequest(name="less", scopes=["read"]))).secret


async def test_a_user_is_found_by_its_address_whatever_its_case(service: Running) -> None:
    workspace_id = await service.new_workspace()
    with acting(workspace_id):
        first, again = [
            await service.accounts.ResolveUser(accounts.ResolveUserRequest(email=email)) for email in ("Ann@Example.com", "ann@example.COM")
        ]
        assert first == again
        assert (first.user.email, first.user.workspace_id, first.plan.name) == ("ann@example.com", workspace_id, "small")
        for email in ("", "ann", "a@b@c", "a b@example.com", "a@" + "b" * 300, "a\x00@example.com", "a\u202e@example.com"):
            request = accounts.ResolveUserRequest(email=email)
            assert await refusal(service.accounts.ResolveUser(request)) == "INVALID_FIELD"
        guess = accounts.ResolveGuestRequest(guest_token="gt_x")
        assert await refusal(service.accounts.ResolveGuest(guess)) == "INVALID_GUEST_TOKEN"
    with acting(""):
        assert await refusal(service.accounts.ResolveUser(accounts.ResolveUserRequest(email="a@b.c"))) == "ACCESS_DENIED"


async def test_the_operator_moves_a_user_to_another_plan(service: Running) -> None:
    workspace_id = await service.new_workspace()
    with acting(workspace_id):
        user = (await service.accounts.ResolveUser(accounts.ResolveUserRequest(email="ann@example.com"))).user
    request = accounts.AssignPlanRequest(workspace_id=workspace_id, email="Ann@example.com", plan="priced")
    await service.operator.AssignPlan(request)
    with calling_as(Caller(CallerKind.USER, "gateway", workspace_id, f"user:{user.id}", wallet_id=user.id)):
        assert (await service.gateway.GetPlan(accounts.GetPlanRequest())).plan.name == "priced"
    unknown = accounts.AssignPlanRequest(workspace_id=workspace_id, email="bob@example.com", plan="priced")
    assert await refusal(service.operator.AssignPlan(unknown)) == "USER_NOT_FOUND"


async def test_an_app_key_answers_the_plan_of_its_guests_beside_the_workspaces(service: Running) -> None:
    workspace_id = await service.new_workspace()
    secret = (await service.new_key(workspace_id, kind=ApiKey.KIND_APP)).secret
    found = await service.accounts.Authenticate(accounts.AuthenticateRequest(api_key=secret))
    assert (found.plan.name, found.guest_plan.name) == ("small", "guest")
    with calling_as(Caller(CallerKind.GUEST, "gateway", workspace_id, f"guest:{found.api_key.id}", found.api_key.id)):
        assert (await service.gateway.GetPlan(accounts.GetPlanRequest())).plan.name == "guest"
