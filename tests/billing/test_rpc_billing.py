"""Credit over gRPC, and why calls are refused."""

from collections.abc import Awaitable

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from services.mesh.identity import Caller, CallerKind, calling_as
from services.mesh.ids import new_id
from services.mesh.status import RemoteError
from steno.billing.v1 import accounts_service_pb2 as accounts
from steno.billing.v1 import billing_service_pb2 as billing
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.ledger_pb2 import Hold
from tests.billing.service import Running, acting, refusal
from tests.billing.stage import MINUTE_MS


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
        assert {reason: await refusal(call) for reason, call in refused.items()} == {reason: reason for reason in refused}
    with acting(unknown):
        assert await refusal(service.accounts.GetWorkspace(accounts.GetWorkspaceRequest())) == "WORKSPACE_NOT_FOUND"
        assert await refusal(ledger.GetBalance(billing.GetBalanceRequest())) == "WORKSPACE_NOT_FOUND"
    assert await refusal(service.operator.CreateWorkspace(accounts.CreateWorkspaceRequest(name="x", plan="gold"))) == "UNKNOWN_PLAN"


async def test_a_user_pays_from_its_own_wallet_and_a_guest_from_the_workspaces(service: Running) -> None:
    workspace_id = await service.new_workspace()
    with acting(workspace_id):
        user_id = (await service.accounts.ResolveUser(accounts.ResolveUserRequest(email="ann@example.com"))).user.id
    user = Caller(CallerKind.SERVICE, "jobs", workspace_id, f"user:{user_id}", wallet_id=user_id)
    guest = Caller(CallerKind.SERVICE, "jobs", workspace_id, "guest:key")
    held = {}
    for caller in (user, guest):
        with calling_as(caller):
            request = billing.ReserveRequest(job_id=new_id(), amount_ms=10 * MINUTE_MS)
            held[caller.owner] = await service.billing.Reserve(request)
    assert [(item.hold.workspace_id, item.plan.name) for item in held.values()] == [(user_id, "small"), (workspace_id, "guest")]
    with calling_as(user):
        assert (await service.billing.GetBalance(billing.GetBalanceRequest())).balance.held_ms == 10 * MINUTE_MS
        transfers = (await service.billing.ListTransfers(billing.ListTransfersRequest())).transfers
        usage = (await service.billing.GetUsage(billing.GetUsageRequest())).usage
    assert [transfer.debit_account for transfer in transfers] == [f"plan:{user_id}", f"source:{user_id}"]
    assert (usage.upload_count, usage.included_ms, usage.plan.name) == (1, 100 * MINUTE_MS, "small")
    with calling_as(guest):
        assert await refusal(service.billing.ListTransfers(billing.ListTransfersRequest())) == "ACCESS_DENIED"
    # Jobs settles for the workspace, or, reconciling, for the wallet that an open hold names.
    of_user, of_guest = (item.hold.job_id for item in held.values())
    with acting(workspace_id):
        await service.billing.Settle(billing.SettleRequest(job_id=of_user, billable_ms=MINUTE_MS))
    with acting(user_id):
        assert await refusal(service.billing.Release(billing.ReleaseRequest(job_id=of_guest))) == "HOLD_NOT_FOUND"
        await service.billing.Settle(billing.SettleRequest(job_id=of_user, billable_ms=MINUTE_MS))
    assert await service.balance(user_id) == (99, 0, 1)


async def test_the_operator_adds_credit_to_workspaces_users_and_wallets(service: Running) -> None:
    workspace_id = await service.new_workspace()
    with acting(workspace_id):
        user_id = (await service.accounts.ResolveUser(accounts.ResolveUserRequest(email="ann@example.com"))).user.id
    for wallet_id in (workspace_id, user_id):
        grant = billing.GrantCreditRequest(workspace_id=wallet_id, amount_ms=MINUTE_MS, id="order-1")
        assert (await service.operator_billing.GrantCredit(grant)).balance.available_ms == 101 * MINUTE_MS
    nobody = billing.GrantCreditRequest(workspace_id=new_id(), amount_ms=MINUTE_MS, id="order-1")
    assert await refusal(service.operator_billing.GrantCredit(nobody)) == "WORKSPACE_NOT_FOUND"


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
    assert await refusal(operator.GrantCredit(grant)) == "INVALID_FIELD"


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
