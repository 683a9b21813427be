"""Deeds of guests, users, buyers, operators and other services: not in the history."""

import uuid
from typing import TypeVar

import httpx2
from google.protobuf.duration_pb2 import Duration

from faults.tour.visitor import FOLLOW_SECONDS, Visitor, long_silence
from services.mesh.channel import Channel
from services.mesh.identity import Caller, CallerKind, calling_as
from services.mesh.ids import new_id
from steno.billing.v1.accounts_service_pb2 import AssignPlanRequest, CreateApiKeyRequest, CreateWorkspaceRequest
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub
from steno.billing.v1.billing_service_pb2 import GetBalanceRequest, GrantCreditRequest, ReleaseRequest, ReserveRequest
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceAsyncStub
from steno.inference.v1.inference_service_pb2 import TranscribeRequest
from steno.inference.v1.inference_service_pb2_grpc import InferenceServiceAsyncStub
from steno.jobs.v1.job_pb2 import TranscriptionConfig
from tests.billing.stripe_player import paid_event, sign

_THREE_HOURS = 3 * 3600
_DONE = 3
T = TypeVar("T")


class Others(Visitor):
    """Whatever is no submit of the first workspace."""

    def claimed(self) -> None:
        """A guest's job that a new user claims."""
        with self.http({"X-API-Key": self.app_key}) as http:
            with self.trial.sounds.silence.open("rb") as file:
                submitted = http.post("/api/v1/transcribe", files={"file": ("guest.wav", file)}).json()
            token = self.issuer.mint(email=f"{uuid.uuid4().hex}@example.com", sub=uuid.uuid4().hex)
            headers = {"Authorization": f"Bearer {token}"}
            http.post("/api/v1/jobs/claim", json={"claim_tokens": [submitted.get("claim_token", "")]}, headers=headers)

    def keys(self) -> None:
        """A key that is made and revoked."""
        with self.http() as http:
            made = http.post("/api/v1/auth/api-keys", json={"name": self.new_key()}).json()
            http.delete(f"/api/v1/auth/api-keys/{made.get('id')}")

    def workspace(self) -> str:
        """A workspace of its own, moved to a plan and given credit; its id."""

        async def make(channel: Channel) -> str:
            accounts = AccountsServiceAsyncStub(channel)
            workspace_id: str = (await accounts.CreateWorkspace(CreateWorkspaceRequest(name=self.new_key(), plan="minute"))).workspace.id
            await accounts.AssignPlan(AssignPlanRequest(workspace_id=workspace_id, plan="minutes"))
            grant = GrantCreditRequest(workspace_id=workspace_id, amount_ms=1000, id=self.new_key())
            await BillingServiceAsyncStub(channel).GrantCredit(grant)
            return workspace_id

        return self.operate("billing", make)

    def exhausted(self) -> None:
        """A submit that costs more than there is."""

        async def poor(channel: Channel) -> str:
            accounts = AccountsServiceAsyncStub(channel)
            made = await accounts.CreateWorkspace(CreateWorkspaceRequest(name=self.new_key(), plan="minute"))
            caller = Caller(CallerKind.OPERATOR, "operator", made.workspace.id, "workspace")
            with calling_as(caller):
                return str((await accounts.CreateApiKey(CreateApiKeyRequest(name="poor"))).secret)

        key = self.operate("billing", poor)
        with self.http({"X-API-Key": key}) as http, long_silence(self.trial).open("rb") as file:
            http.post("/api/v1/transcribe", files={"file": ("long.wav", file)})

    def next_month(self) -> None:
        """A balance that is asked for in a month that has just begun; of a plan that grants nothing, since this month's grant is made."""

        async def make(channel: Channel) -> str:
            request = CreateWorkspaceRequest(name=self.new_key(), plan="nothing")
            return str((await AccountsServiceAsyncStub(channel).CreateWorkspace(request)).workspace.id)

        workspace_id = self.operate("billing", make)
        self.change("billing", "workspace", "period = '2020-01'", workspace_id)
        caller = Caller(CallerKind.OPERATOR, "operator", workspace_id, "workspace")
        self.operate("billing", lambda channel: BillingServiceAsyncStub(channel).GetBalance(GetBalanceRequest()), caller=caller)

    def bought(self) -> None:
        """Credit that is paid for."""
        asked = {"pack": "hours-10", "success_url": "https://app.example.com/done", "cancel_url": "https://app.example.com/"}
        with self.http() as http:
            made = http.post("/api/v1/credits/checkout", json=asked).json()
            event = paid_event(self.stripe.session_of(made["checkout_id"]))
            http.post("/api/v1/payments/stripe/events", content=event, headers={"Stripe-Signature": sign(event)})

    def renewed(self) -> None:
        """A hold that is renewed, and given back."""
        ttl, hold_id = Duration(seconds=5), new_id()

        async def renew(channel: Channel) -> None:
            billing = BillingServiceAsyncStub(channel)
            for _ in range(2):
                await billing.Reserve(ReserveRequest(job_id=hold_id, amount_ms=10, ttl=ttl))
            await billing.Release(ReleaseRequest(job_id=hold_id))

        self.operate("billing", renew, "inference")

    def transcribed(self, seconds: float = FOLLOW_SECONDS) -> None:
        """Speech to text without a job."""
        row = self.done_job()

        async def listen(channel: Channel) -> None:
            request = TranscribeRequest(media_id=row["media_id"], config=TranscriptionConfig())
            async for _ in InferenceServiceAsyncStub(channel).Transcribe(request, timeout=seconds):
                continue

        self.operate("inference", listen, "gateway")

    def transcribed_in_vain(self) -> None:
        """The same for a caller who soon loses patience."""
        self.transcribed(self.patience.uniform(0.2, 1.5))

    def repeated(self) -> None:
        """The same submit twice, the second when the time of its key is over and retention has not yet seen it."""
        with self.http({"X-API-Key": self._rich_key(), "Idempotency-Key": self.new_key()}) as http:
            job_id = self._submitted(http)
            self.change("jobs", "idempotency", "expire_time = create_time", job_id, column="job_id")
            self._submitted(http)

    def _submitted(self, http: httpx2.Client) -> str:
        with self.trial.sounds.silence.open("rb") as file:
            return str(http.post("/api/v1/transcribe", files={"file": ("a.wav", file)}).json()["job_id"])

    def _rich_key(self) -> str:
        """A key of another workspace, whose jobs are not in the history."""

        async def make(channel: Channel) -> str:
            accounts = AccountsServiceAsyncStub(channel)
            workspace_id = (await accounts.CreateWorkspace(CreateWorkspaceRequest(name=self.new_key()))).workspace.id
            with calling_as(Caller(CallerKind.OPERATOR, "operator", workspace_id, "workspace")):
                return str((await accounts.CreateApiKey(CreateApiKeyRequest(name="rich"))).secret)

        return self.operate("billing", make)
