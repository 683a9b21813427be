"""What a transcription without a job costs: a hold that is renewed while it goes on, then charged or given back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from services.inference.domain import HoldLost, MediaTooLarge, MediaTooLong
from services.inference.patience import patiently
from services.mesh import fault
from services.mesh.errors import MeshError
from services.mesh.ids import new_id
from services.mesh.interceptors import deadline
from services.mesh.status import is_remote
from services.mesh.telemetry import get_logger
from steno.billing.v1.billing_service_pb2 import ReleaseRequest, ReserveRequest, SettleRequest
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceAsyncStub
from steno.billing.v1.ledger_pb2 import Hold
from steno.billing.v1.workspace_pb2 import Plan

# Long enough for billing to restart; what is left of a dead worker's holds goes back so soon after.
HOLD_SECONDS = 120.0
_RENEWALS_PER_HOLD = 4
_SETTLE_PATIENCE_SECONDS = 30.0
_RELEASE_PATIENCE_SECONDS = 30.0
_CLOSING_SECONDS = 2.0


@dataclass
class Charge:
    """The cost of one transcription. payer: whether anybody pays; without, nothing is held."""

    billing: BillingServiceAsyncStub
    payer: bool
    seconds: float = HOLD_SECONDS
    id: str = field(default_factory=new_id)
    asked: bool = False
    settling: bool = False
    settled: bool = False
    _amount_ms: int = 0
    _good_until: float = 0.0

    async def hold(self, duration_ms: int, size_bytes: int) -> None:
        """Hold the length, once. Raises MediaTooLarge and MediaTooLong past the payer's plan, billing's refusals."""
        if not self.payer or self.asked:
            return
        self.asked, self._amount_ms = True, max(1, duration_ms)
        plan = await self._reserve()
        if 0 < plan.max_upload_bytes < size_bytes:
            raise MediaTooLarge(max_size_bytes=str(plan.max_upload_bytes))
        if 0 < plan.max_duration_ms < duration_ms:
            raise MediaTooLong(max_duration_ms=str(plan.max_duration_ms))

    async def _reserve(self) -> Plan:
        started = time.monotonic()
        ttl = Duration()
        ttl.FromNanoseconds(int(self.seconds * 1e9))
        answer = await self.billing.Reserve(ReserveRequest(job_id=self.id, amount_ms=self._amount_ms, ttl=ttl))
        fault.point("inference.charge.after_reserve")
        if answer.hold.state != Hold.STATE_OPEN:
            raise HoldLost
        self._good_until = started + self.seconds
        return answer.plan

    async def keep(self) -> None:
        """Renew the hold until cancelled. Raises HoldLost when it is gone, or was not renewed in time."""
        while True:
            await asyncio.sleep(self.seconds / _RENEWALS_PER_HOLD)
            if self._good_until and not self.settling:
                await self._renew()

    async def _renew(self) -> None:
        try:
            await self._reserve()
        except MeshError as error:
            if self.settling:
                # It may have met the hold charged by now; settling says what became of it.
                return
            if isinstance(error, HoldLost):
                raise
            get_logger("inference.charging").warning("hold not renewed", id=self.id, error=str(error))
            if time.monotonic() >= self._good_until:
                raise HoldLost from error

    async def settle(self, billable_ms: int) -> int:
        """Charge so much, 0 for nothing; what was charged. Raises HoldLost, RemoteError."""
        if not self.asked:
            return 0
        self.settling = True

        async def settle() -> int:
            answer = await self.billing.Settle(SettleRequest(job_id=self.id, billable_ms=billable_ms))
            return answer.hold.settled_ms

        fault.point("inference.charge.before_settle")
        try:
            charged_ms = await patiently(settle, "Settle", _SETTLE_PATIENCE_SECONDS)
        except MeshError as error:
            raise HoldLost if is_remote(error, "HOLD_ALREADY_RELEASED") else error from error
        self.settled = True
        fault.point("inference.charge.after_settle")
        return charged_ms

    async def release(self) -> None:
        """Give the hold back, whatever became of the caller. When that fails, its end comes of itself."""
        deadline.set(None)

        async def release() -> None:
            await self.billing.Release(ReleaseRequest(job_id=self.id))

        fault.point("inference.charge.before_release")
        try:
            await patiently(release, "Release", _RELEASE_PATIENCE_SECONDS)
        except MeshError as error:
            if not is_remote(error, "HOLD_NOT_FOUND"):
                get_logger("inference.charging").warning("hold not released", id=self.id, error=str(error))


class Cashier:
    """Opens charges, and gives back what was not settled beside the calls that have ended; use `open_cashier`."""

    def __init__(self, billing: BillingServiceAsyncStub, group: asyncio.TaskGroup, hold_seconds: float) -> None:
        self._billing = billing
        self._group = group
        self._hold_seconds = hold_seconds
        self.releases: set[asyncio.Task[None]] = set()
        self.closed = False

    @asynccontextmanager
    async def charging(self, payer_id: str) -> AsyncIterator[Charge]:
        """A charge, given back at the end unless it is settled. payer_id: empty for nobody."""
        charge = Charge(self._billing, bool(payer_id), self._hold_seconds)
        try:
            yield charge
        finally:
            # Once the service has closed, the hold ends by itself.
            if charge.asked and not charge.settled and not self.closed:
                # Not awaited: a caller that has gone keeps nothing waiting.
                task = self._group.create_task(charge.release(), name=f"release {charge.id}")
                self.releases.add(task)
                task.add_done_callback(self.releases.discard)


@asynccontextmanager
async def open_cashier(billing: BillingServiceAsyncStub, hold_seconds: float = HOLD_SECONDS) -> AsyncIterator[Cashier]:
    """A cashier, and what it still gives back when left, for two seconds."""
    async with asyncio.TaskGroup() as group:
        cashier = Cashier(billing, group, hold_seconds)
        try:
            yield cashier
        finally:
            cashier.closed = True
            if releases := list(cashier.releases):
                await asyncio.wait(releases, timeout=_CLOSING_SECONDS)
                for task in releases:
                    task.cancel()
