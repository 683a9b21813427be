"""What the ledger's campaign asks of billing, and one replica that answers it."""

from dataclasses import dataclass
from datetime import timedelta

from faults.failing_database import AnswerLost, FailingDatabase
from services.billing.usecases import ledger
from services.billing.usecases.batches import Batches
from services.billing.usecases.billing import Billing
from services.mesh.errors import MeshError, ServiceUnavailable


@dataclass(frozen=True)
class Request:
    """One call on the ledger. kind: reserve, settle, release or strange, which is a reserve of another wallet's job."""

    kind: str
    wallet_id: str
    job_id: str
    amount_ms: int = 0
    ttl_seconds: int | None = None


@dataclass
class Replica:
    """One billing process's way to the ledger, and the wallets that it serves in this campaign."""

    billing: Billing
    batches: Batches
    database: FailingDatabase
    wallet_ids: list[str]
    unanswered: list[Request]

    async def answer(self, request: Request) -> str | AnswerLost:
        """The state of the hold, the reason of a refusal, or that nobody knows."""
        try:
            return await self._do(request)
        except AnswerLost as lost:
            return lost
        except ServiceUnavailable as error:
            if error.metadata.get("outcome") != "rolled_back":
                raise
            return AnswerLost(committed=False)
        except MeshError as refusal:
            return refusal.reason()

    async def _do(self, request: Request) -> str:
        if request.kind == "settle":
            return (await ledger.settle(self.batches, request.job_id, request.amount_ms, request.wallet_id)).state
        if request.kind == "release":
            return (await ledger.release(self.batches, request.job_id, request.wallet_id)).state
        ttl = None if request.ttl_seconds is None else timedelta(seconds=request.ttl_seconds)
        return (await ledger.reserve(self.batches, request.wallet_id, request.job_id, request.amount_ms, ttl)).hold.state

    async def insist(self, request: Request) -> str:
        """The answer, asked for until there is one."""
        while isinstance(answer := await self.answer(request), AnswerLost):
            pass
        return answer

    async def grant(self, wallet_id: str, amount_ms: int, reference: str) -> None:
        """Add credit by the operator's hand, asked for until there is an answer."""
        while True:
            try:
                await ledger.grant_credit(self.billing, wallet_id, amount_ms, reference)
            except ServiceUnavailable:
                continue
            return
