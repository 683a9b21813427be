"""The ledger as billing tells it to an operator."""

import asyncio
from dataclasses import dataclass

from services.mesh.channel import open_channel
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as, load_key
from steno.billing.v1 import billing_service_pb2 as billing
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceAsyncStub, BillingServiceStub
from steno.billing.v1.ledger_pb2 import Transfer
from tests.e2e.mesh import Mesh


@dataclass(frozen=True)
class Ledger:
    """What was charged for each job, which jobs hold credit, and what must be zero."""

    charged_ms: dict[str, int]
    settlements: dict[str, int]
    open_holds: int
    imbalance_ms: int
    wrong_accounts: int


def read_ledger(mesh: Mesh) -> Ledger:
    """The whole ledger of the mesh's first workspace."""
    return asyncio.run(_read(mesh))


async def _read(mesh: Mesh) -> Ledger:
    signer = TokenSigner(load_key(mesh.data / "keys" / "identity.pem"), "operator")
    operator = Caller(CallerKind.OPERATOR, "operator", mesh.ready["workspace_id"], "workspace")
    address, tls = mesh.ready["grpc"]["billing"], mesh.tls("operator")
    async with open_channel(address, audience="billing", signer=signer, timeout_seconds=20, tls=tls) as channel:
        with calling_as(operator):
            stub = BillingServiceStub(channel)
            verified = await stub.VerifyLedger(billing.VerifyLedgerRequest())
            transfers = await _transfers(stub)
    charged: dict[str, int] = {}
    settlements: dict[str, int] = {}
    for transfer in transfers:
        if transfer.kind == Transfer.KIND_SETTLEMENT:
            charged[transfer.job_id] = charged.get(transfer.job_id, 0) + transfer.amount_ms
            settlements[transfer.job_id] = settlements.get(transfer.job_id, 0) + 1
    return Ledger(charged, settlements, verified.open_hold_count, verified.imbalance_ms, verified.wrong_account_count)


async def _transfers(stub: BillingServiceAsyncStub) -> list[Transfer]:
    found: list[Transfer] = []
    token = ""
    while True:
        page = await stub.ListTransfers(billing.ListTransfersRequest(page_size=1000, page_token=token))
        found.extend(page.transfers)
        token = page.next_page_token
        if not token:
            return found
