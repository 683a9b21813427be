"""The service over gRPC as other teams call it, with the stage's peers and a billing that keeps its holds in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from services.inference.charging import Cashier, open_cashier
from services.inference.readiness import EngineReadiness
from services.inference.rpc import InferenceRpc
from services.inference.slots import Slots
from services.inference.streaming.sources import Sources
from services.inference.streaming.transcriptions import Transcriptions
from services.inference.voices import Voices
from services.mesh.channel import open_channel
from services.mesh.errors import FailedPrecondition, NotFound, ResourceExhausted, ServiceUnavailable
from services.mesh.identity import Caller, CallerKind, TokenSigner, TokenVerifier, calling_as, current_caller, load_key
from services.mesh.server import Registration, open_server
from services.mesh.settings import ServiceSettings
from steno.billing.v1 import billing_service_pb2 as billing_pb
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceServicer, BillingServiceStub, add_BillingServiceServicer_to_server
from steno.billing.v1.ledger_pb2 import Hold
from steno.billing.v1.workspace_pb2 import Plan
from steno.inference.v1 import inference_service_pb2
from steno.inference.v1.inference_service_pb2 import TranscribeRequest, TranscribeResponse
from steno.inference.v1.inference_service_pb2_grpc import (
    InferenceServiceAsyncStub,
    InferenceServiceStub,
    add_InferenceServiceServicer_to_server,
)
from tests.inference.peers import WORKSPACE
from tests.inference.stage import LONGEST_MS, Stage

Context = grpc.aio.ServicerContext[Any, Any]
SERVICE = inference_service_pb2.DESCRIPTOR.services_by_name["InferenceService"]
BILLING = billing_pb.DESCRIPTOR.services_by_name["BillingService"]
KEY = Caller(CallerKind.KEY, "gateway", WORKSPACE, "workspace", "key-1")


class NoCredits(ResourceExhausted):
    """There is no credit left."""


class HoldNotFound(NotFound):
    """No hold was taken for this job."""


class HoldAlreadySettled(FailedPrecondition):
    """The hold was charged before."""


class HoldAlreadyReleased(FailedPrecondition):
    """The hold was given back before."""


class BillingPeer(BillingServiceServicer):
    """One wallet. away: calls, by method, that find nobody; deaf: answers to Settle that get lost; renewals: Reserves that came again."""

    def __init__(self) -> None:
        self.credit_ms = 10_000_000
        self.plan = Plan(name="test")
        self.holds: dict[str, Hold] = {}
        self.renewals = 0
        self.away: dict[str, int] = {}
        self.deaf = 0
        self.ended = asyncio.Event()

    def states(self) -> list[Hold.State.ValueType]:
        """Of all holds, in the order they were taken."""
        return [hold.state for hold in self.holds.values()]

    async def Reserve(self, request: billing_pb.ReserveRequest, context: Context) -> billing_pb.ReserveResponse:
        self._answer("Reserve")
        caller = current_caller()
        assert (caller.kind, caller.service, caller.payer_id) == (CallerKind.SERVICE, "inference", WORKSPACE)
        assert request.HasField("ttl"), "a hold without a job ends by itself"
        if request.job_id in self.holds:
            self.renewals += 1
        elif request.amount_ms > self.credit_ms:
            raise NoCredits(available_ms=str(self.credit_ms), required_ms=str(request.amount_ms))
        else:
            self.holds[request.job_id] = Hold(job_id=request.job_id, amount_ms=request.amount_ms, state=Hold.STATE_OPEN)
        return billing_pb.ReserveResponse(hold=self.holds[request.job_id], plan=self.plan)

    async def Settle(self, request: billing_pb.SettleRequest, context: Context) -> billing_pb.SettleResponse:
        self._answer("Settle")
        hold = self.holds.get(request.job_id)
        if hold is None or hold.state != Hold.STATE_SETTLED:
            hold = self._open(request.job_id)
            hold.state = Hold.STATE_SETTLED if request.billable_ms else Hold.STATE_RELEASED
            hold.settled_ms = request.billable_ms
        self.ended.set()
        if self.deaf:
            self.deaf -= 1
            raise ServiceUnavailable
        return billing_pb.SettleResponse(hold=hold)

    async def Release(self, request: billing_pb.ReleaseRequest, context: Context) -> billing_pb.ReleaseResponse:
        self._answer("Release")
        hold = self._open(request.job_id)
        hold.state = Hold.STATE_RELEASED
        self.ended.set()
        return billing_pb.ReleaseResponse(hold=hold)

    def _open(self, job_id: str) -> Hold:
        hold = self.holds.get(job_id)
        if hold is None:
            raise HoldNotFound
        if hold.state == Hold.STATE_SETTLED:
            raise HoldAlreadySettled
        if hold.state == Hold.STATE_RELEASED:
            raise HoldAlreadyReleased
        return hold

    def _answer(self, method: str) -> None:
        if self.away.get(method, 0) > 0:
            self.away[method] -= 1
            raise ServiceUnavailable


@dataclass
class Calls:
    """A caller of the service, and what stands behind that."""

    stage: Stage
    billing: BillingPeer
    cashier: Cashier
    stub: InferenceServiceAsyncStub
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self, caller: Caller = KEY, **request: Any) -> AsyncIterator[TranscribeResponse]:
        """Begin to transcribe."""
        with calling_as(caller):
            return aiter(self.stub.Transcribe(TranscribeRequest(**request), timeout=60))

    async def transcribe(self, caller: Caller = KEY, **request: Any) -> list[TranscribeResponse]:
        """Everything that is answered."""
        return [response async for response in self.start(caller, **request)]


@asynccontextmanager
async def serving(
    stage: Stage, *, slots: int = 2, waiting: int = 2, hold_seconds: float = 120.0, most_seconds: float = 600.0
) -> AsyncIterator[Calls]:
    """The service over gRPC, to the caller in hand or a key of the workspace."""
    key, stopping, billing = load_key(stage.key_file), asyncio.Event(), BillingPeer()  # type: ignore[abstract]
    settings = ServiceSettings(port=0, shutdown_grace_seconds=0.5)
    stage.storage.owner = "workspace"
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        registered = Registration(add_BillingServiceServicer_to_server, billing, BILLING)
        accounts = await enter(open_server(settings, TokenVerifier(key, "billing"), authenticate=None, servicers=[registered]))
        signer = TokenSigner(key, "inference")
        ledger = await enter(open_channel(f"127.0.0.1:{accounts.port}", audience="billing", signer=signer, services=[BILLING]))
        cashier = await enter(open_cashier(BillingServiceStub(ledger), hold_seconds))
        bench = stage.bench
        sources = Sources(bench.storage, bench.client, bench.sandbox, bench.scratch, 0, LONGEST_MS)
        room = Slots(slots, waiting, "Too many.")
        transcriptions = Transcriptions(bench.engine, bench.pipeline, sources, cashier, room, most_seconds, stopping)
        voices = Voices(stage.house.engine, bench.sandbox, bench.scratch, Slots(2, 2, "Too many."))
        rpc = Registration(
            add_InferenceServiceServicer_to_server, InferenceRpc(bench.engine, EngineReadiness(), voices, transcriptions), SERVICE
        )
        server = await enter(open_server(settings, TokenVerifier(key, "inference"), authenticate=None, servicers=[rpc]))
        channel = await enter(
            open_channel(
                f"127.0.0.1:{server.port}",
                audience="inference",
                signer=TokenSigner(key, "gateway"),
                services=[SERVICE],
                timeout_seconds=30,
            )
        )
        with calling_as(KEY):
            yield Calls(stage, billing, cashier, InferenceServiceStub(channel), stopping)
