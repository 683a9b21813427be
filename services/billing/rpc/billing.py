"""BillingService."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.billing.rpc import fields, to_proto
from services.billing.store import tables
from services.billing.usecases import ledger
from services.billing.usecases.batches import Batches
from services.billing.usecases.billing import Billing
from services.billing.usecases.permissions import check_acts_for_workspace, is_guest_without_wallet, payer_of, purse_of
from services.billing.usecases.verification import verify_ledger
from services.mesh.identity import Caller, current_caller
from steno.billing.v1 import billing_service_pb2 as messages
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceServicer


def _caller() -> Caller:
    return check_acts_for_workspace(current_caller())


def _next_page_token(rows: Sequence[tables.Hold] | Sequence[tables.Transfer], limit: int) -> str:
    if len(rows) <= limit:
        return ""
    last = rows[limit - 1]
    return fields.page_token(last.create_time, last.job_id if isinstance(last, tables.Hold) else last.id)


class BillingRpc(BillingServiceServicer):
    """BillingService over the use cases."""

    def __init__(self, billing: Billing, batches: Batches) -> None:
        self._billing, self._batches = billing, batches

    async def Reserve(self, request: messages.ReserveRequest, context: Any) -> messages.ReserveResponse:
        job_id = fields.identifier(request.job_id, "job_id")
        amount_ms = fields.amount(request.amount_ms, "amount_ms")
        ttl = fields.ttl(request.ttl, "ttl") if request.HasField("ttl") else None
        caller, plans = _caller(), self._billing.plans
        held = await ledger.reserve(self._batches, caller.payer_id, job_id, amount_ms, ttl)
        plan = plans.get(plans.guest) if is_guest_without_wallet(caller) else held.plan
        return messages.ReserveResponse(hold=to_proto.hold(held.hold), plan=plan)

    async def Settle(self, request: messages.SettleRequest, context: Any) -> messages.SettleResponse:
        job_id = fields.identifier(request.job_id, "job_id")
        billable_ms = fields.amount(request.billable_ms, "billable_ms", least=0)
        hold = await ledger.settle(self._batches, job_id, billable_ms, current_caller().workspace_id)
        return messages.SettleResponse(hold=to_proto.hold(hold))

    async def Release(self, request: messages.ReleaseRequest, context: Any) -> messages.ReleaseResponse:
        job_id = fields.identifier(request.job_id, "job_id")
        hold = await ledger.release(self._batches, job_id, current_caller().workspace_id)
        return messages.ReleaseResponse(hold=to_proto.hold(hold))

    async def GetBalance(self, request: messages.GetBalanceRequest, context: Any) -> messages.GetBalanceResponse:
        return messages.GetBalanceResponse(balance=await ledger.get_balance(self._billing, purse_of(_caller())))

    async def GetUsage(self, request: messages.GetUsageRequest, context: Any) -> messages.GetUsageResponse:
        return messages.GetUsageResponse(usage=await ledger.get_usage(self._billing, purse_of(_caller())))

    async def GrantCredit(self, request: messages.GrantCreditRequest, context: Any) -> messages.GrantCreditResponse:
        workspace_id = fields.identifier(request.workspace_id, "workspace_id")
        amount_ms = fields.amount(request.amount_ms, "amount_ms")
        reference = fields.reference(request.id)
        balance = await ledger.grant_credit(self._billing, workspace_id, amount_ms, reference)
        return messages.GrantCreditResponse(balance=balance)

    async def ListOpenHolds(self, request: messages.ListOpenHoldsRequest, context: Any) -> messages.ListOpenHoldsResponse:
        limit, after = fields.page_size(request.page_size), fields.page_place(request.page_token)
        rows = await ledger.list_open_holds(self._billing, _before(request), after, limit + 1)
        return messages.ListOpenHoldsResponse(holds=map(to_proto.hold, rows[:limit]), next_page_token=_next_page_token(rows, limit))

    async def ListTransfers(self, request: messages.ListTransfersRequest, context: Any) -> messages.ListTransfersResponse:
        limit, after = fields.page_size(request.page_size), fields.page_place(request.page_token)
        rows = await ledger.list_transfers(self._billing, payer_of(_caller()), after, limit + 1)
        return messages.ListTransfersResponse(transfers=map(to_proto.transfer, rows[:limit]), next_page_token=_next_page_token(rows, limit))

    async def VerifyLedger(self, request: messages.VerifyLedgerRequest, context: Any) -> messages.VerifyLedgerResponse:
        return to_proto.findings(await verify_ledger(self._billing))


def _before(request: messages.ListOpenHoldsRequest) -> datetime | None:
    if not request.HasField("create_time_before"):
        return None
    return fields.time(request.create_time_before, "create_time_before")
