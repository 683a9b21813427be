"""Billing and storage as jobs meets them: small real gRPC servers that keep everything in memory."""

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import grpc

from services.mesh.errors import FailedPrecondition, Internal, InvalidArgument, MeshError, NotFound, ResourceExhausted, ServiceUnavailable
from services.mesh.identity import Caller, CallerKind, current_caller
from services.mesh.ids import new_id
from steno.billing.v1 import accounts_service_pb2 as accounts_pb
from steno.billing.v1 import billing_service_pb2 as billing_pb
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceServicer
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.billing_service_pb2_grpc import BillingServiceServicer
from steno.billing.v1.ledger_pb2 import Balance, Hold
from steno.billing.v1.workspace_pb2 import Plan
from steno.storage.v1 import datasets_service_pb2 as datasets_pb
from steno.storage.v1 import storage_service_pb2 as storage_pb
from steno.storage.v1.annotation_set_pb2 import AnnotationSet
from steno.storage.v1.dataset_pb2 import ArtifactType
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceServicer
from steno.storage.v1.media_pb2 import Media, SignedUrl, UploadForm
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class NoCredits(ResourceExhausted):
    """The balance does not cover the hold."""


class HoldNotFound(NotFound):
    """No hold was ever taken for the job."""


class HoldAlreadySettled(FailedPrecondition):
    """The hold was charged before."""


class HoldAlreadyReleased(FailedPrecondition):
    """The hold was given back before."""


class MediaNotFound(NotFound):
    """No such media in the caller's workspace."""


class DatasetNotFound(NotFound):
    """No such dataset of the caller."""


class BillingPeer(BillingServiceServicer):
    """Holds by job; every wallet begins with `credit_ms`; a hold in `refused` cannot be ended. `plans` are those of wallets."""

    def __init__(self) -> None:
        self.plans: defaultdict[str, Plan] = defaultdict(lambda: Plan(name="test", retention_days=30, max_upload_bytes=2**30))
        self.down = False
        self.credit_ms: defaultdict[str, int] = defaultdict(lambda: 1_000_000_000)
        self.holds: dict[str, Hold] = {}
        self.reserve_count = 0
        self.refused: set[str] = set()

    def in_state(self, state: Hold.State.ValueType) -> list[str]:
        """The jobs whose holds stand there."""
        return [job_id for job_id, hold in self.holds.items() if hold.state == state]

    def open_hold(self, job_id: str, workspace_id: str, *, create_time: datetime, expire_time: datetime | None = None) -> None:
        """A hold as an earlier Reserve left it."""
        hold = Hold(job_id=job_id, workspace_id=workspace_id, amount_ms=1000, state=Hold.STATE_OPEN)
        hold.create_time.FromDatetime(create_time)
        if expire_time is not None:
            hold.expire_time.FromDatetime(expire_time)
        self.holds[job_id] = hold

    async def Reserve(self, request: billing_pb.ReserveRequest, context: Context) -> billing_pb.ReserveResponse:
        self.reserve_count += 1
        workspace_id = current_caller().payer_id
        assert workspace_id
        assert current_caller().kind is CallerKind.SERVICE
        if self.down:
            raise ServiceUnavailable(service="billing")
        if request.job_id not in self.holds:
            if self.credit_ms[workspace_id] < request.amount_ms:
                raise NoCredits(available_ms=str(self.credit_ms[workspace_id]), required_ms=str(request.amount_ms))
            self.credit_ms[workspace_id] -= request.amount_ms
            self.open_hold(request.job_id, workspace_id, create_time=datetime.now(UTC))
            self.holds[request.job_id].amount_ms = request.amount_ms
        return billing_pb.ReserveResponse(hold=self.holds[request.job_id], plan=self.plans[workspace_id])

    async def GetBalance(self, request: billing_pb.GetBalanceRequest, context: Context) -> billing_pb.GetBalanceResponse:
        return billing_pb.GetBalanceResponse(balance=Balance(available_ms=self.credit_ms[current_caller().payer_id]))

    async def Settle(self, request: billing_pb.SettleRequest, context: Context) -> billing_pb.SettleResponse:
        hold = self._open(request.job_id)
        assert request.billable_ms <= hold.amount_ms
        hold.state, hold.settled_ms = Hold.STATE_SETTLED, request.billable_ms
        return billing_pb.SettleResponse(hold=hold)

    async def Release(self, request: billing_pb.ReleaseRequest, context: Context) -> billing_pb.ReleaseResponse:
        hold = self._open(request.job_id)
        hold.state = Hold.STATE_RELEASED
        self.credit_ms[hold.workspace_id] += hold.amount_ms
        return billing_pb.ReleaseResponse(hold=hold)

    async def ListOpenHolds(self, request: billing_pb.ListOpenHoldsRequest, context: Context) -> billing_pb.ListOpenHoldsResponse:
        before = request.create_time_before.ToDatetime()
        old = [hold for hold in self.holds.values() if hold.create_time.ToDatetime() < before and hold.job_id > request.page_token]
        waiting = sorted((hold for hold in old if hold.state == Hold.STATE_OPEN), key=lambda hold: hold.job_id)
        page = waiting[: request.page_size]
        token = page[-1].job_id if len(waiting) > len(page) else ""
        return billing_pb.ListOpenHoldsResponse(holds=page, next_page_token=token)

    def _open(self, job_id: str) -> Hold:
        hold = self.holds.get(job_id)
        if job_id in self.refused:
            raise Internal
        if hold is None:
            raise HoldNotFound
        if hold.state != Hold.STATE_OPEN:
            raise HoldAlreadySettled if hold.state == Hold.STATE_SETTLED else HoldAlreadyReleased
        return hold


class AccountsPeer(AccountsServiceServicer):
    """The plans that billing has; every secret is that of the app key "app" of the workspace "ws"."""

    def __init__(self, billing: BillingPeer) -> None:
        self._billing = billing

    async def Authenticate(self, request: accounts_pb.AuthenticateRequest, context: Context) -> accounts_pb.AuthenticateResponse:
        return accounts_pb.AuthenticateResponse(api_key=ApiKey(id="app", workspace_id="ws", kind=ApiKey.KIND_APP))

    async def GetPlan(self, request: accounts_pb.GetPlanRequest, context: Context) -> accounts_pb.GetPlanResponse:
        caller = current_caller()
        guest = caller.owner.startswith("guest:") and not caller.wallet_id
        return accounts_pb.GetPlanResponse(plan=self._billing.plans["guest" if guest else caller.payer_id])

    async def GetWorkspace(self, request: accounts_pb.GetWorkspaceRequest, context: Context) -> accounts_pb.GetWorkspaceResponse:
        return accounts_pb.GetWorkspaceResponse(plan=self._billing.plans[current_caller().workspace_id])


class StoragePeer(StorageServiceServicer):
    """Media and artefacts by workspace; `broken` makes it fail to delete.

    Fetching any URL waits for `may_fetch`, then raises the next of `fetch_errors`, or makes media. Uploads arrive by `arrive`.
    """

    def __init__(self) -> None:
        self.fetches: list[storage_pb.FetchMediaRequest] = []
        self.fetchers: list[Caller] = []
        self.fetch_errors: list[MeshError] = []
        self.may_fetch = asyncio.Event()
        self.may_fetch.set()
        self.aborted_fetches = 0
        self.uploads: dict[tuple[str, str], Media] = {}
        self.commit_error: MeshError | None = None
        self.signatures: list[int] = []
        self.forms: list[storage_pb.SignUploadFormRequest] = []
        self.duration_ms = 60_000
        self.media: dict[tuple[str, str], Media] = {}
        self.artefacts: set[tuple[str, str]] = set()
        self.broken = False
        self.refusal_count = 0
        self.listings: list[storage_pb.ListMediaRequest] = []

    def add_media(self, workspace_id: str, *, content: str = "speech", duration_ms: int = 60_000, age: timedelta = timedelta(0)) -> str:
        """Ready media; the same content has the same hash."""
        media = Media(id=new_id(), workspace_id=workspace_id, state=Media.STATE_READY, filename="talk.mp3")
        media.sha256 = sha256(content.encode()).hexdigest()
        media.probe.duration_ms = duration_ms
        media.create_time.FromDatetime(datetime.now(UTC) - age)
        self.media[workspace_id, media.id] = media
        return media.id

    def age_media(self, age: timedelta) -> None:
        """All that is stored now was announced so long ago."""
        for media in self.media.values():
            media.create_time.FromDatetime(datetime.now(UTC) - age)

    def add_artefact(self, workspace_id: str) -> str:
        """A stored transcript."""
        artefact_id = new_id()
        self.artefacts.add((workspace_id, artefact_id))
        return artefact_id

    async def FetchMedia(self, request: storage_pb.FetchMediaRequest, context: Context) -> storage_pb.FetchMediaResponse:
        assert current_caller().kind is CallerKind.SERVICE
        self.fetches.append(request)
        self.fetchers.append(current_caller())
        try:
            await self.may_fetch.wait()
        except asyncio.CancelledError:
            self.aborted_fetches += 1
            raise
        if self.fetch_errors:
            raise self.fetch_errors.pop(0)
        workspace_id = current_caller().workspace_id
        if (workspace_id, request.media_id) not in self.media:
            self._make_ready(workspace_id, Media(id=request.media_id, workspace_id=workspace_id, filename="fetched.mp3"))
        return storage_pb.FetchMediaResponse(media=self.media[workspace_id, request.media_id])

    async def BeginUpload(self, request: storage_pb.BeginUploadRequest, context: Context) -> storage_pb.BeginUploadResponse:
        workspace_id = current_caller().workspace_id
        media = Media(id=new_id(), workspace_id=workspace_id, state=Media.STATE_UPLOADING, filename=request.filename)
        self.uploads[workspace_id, media.id] = media
        return storage_pb.BeginUploadResponse(media=media, upload_url=self._upload_url(media.id, request.max_size_bytes))

    async def SignUpload(self, request: storage_pb.SignUploadRequest, context: Context) -> storage_pb.SignUploadResponse:
        if (current_caller().workspace_id, request.media_id) not in self.uploads:
            raise MediaNotFound
        return storage_pb.SignUploadResponse(upload_url=self._upload_url(request.media_id, request.max_size_bytes))

    async def AbortUpload(self, request: storage_pb.AbortUploadRequest, context: Context) -> storage_pb.AbortUploadResponse:
        self.uploads.pop((current_caller().workspace_id, request.media_id), None)
        return storage_pb.AbortUploadResponse()

    async def CommitUpload(self, request: storage_pb.CommitUploadRequest, context: Context) -> storage_pb.CommitUploadResponse:
        place = (current_caller().workspace_id, request.media_id)
        if self.commit_error is not None:
            if isinstance(self.commit_error, InvalidArgument):
                self.uploads.pop(place)
            raise self.commit_error
        if place not in self.media:
            if place not in self.uploads:
                raise MediaNotFound
            self._make_ready(place[0], self.uploads.pop(place))
        return storage_pb.CommitUploadResponse(media=self.media[place])

    def _make_ready(self, workspace_id: str, media: Media) -> None:
        media.state = Media.STATE_READY
        media.sha256 = sha256(media.id.encode()).hexdigest()
        media.probe.duration_ms = self.duration_ms
        media.create_time.FromDatetime(datetime.now(UTC))
        self.media[workspace_id, media.id] = media

    def _upload_url(self, media_id: str, max_size_bytes: int) -> SignedUrl:
        self.signatures.append(max_size_bytes)
        return SignedUrl(url=f"http://storage/{media_id}?n={len(self.signatures)}", store="disk")

    async def SignUploadForm(self, request: storage_pb.SignUploadFormRequest, context: Context) -> storage_pb.SignUploadFormResponse:
        if (current_caller().workspace_id, request.media_id) not in self.uploads:
            raise MediaNotFound
        self.forms.append(request)
        fields = {"key": request.media_id, "Content-Type": request.content_type}
        return storage_pb.SignUploadFormResponse(upload_form=UploadForm(url="http://storage/forms", fields=fields))

    async def SignMediaUrl(self, request: storage_pb.SignMediaUrlRequest, context: Context) -> storage_pb.SignMediaUrlResponse:
        if (current_caller().workspace_id, request.media_id) not in self.media:
            raise MediaNotFound
        return storage_pb.SignMediaUrlResponse(download_url=SignedUrl(url=f"http://storage/{request.media_id}", store="disk"))

    async def GetMedia(self, request: storage_pb.GetMediaRequest, context: Context) -> storage_pb.GetMediaResponse:
        media = self.media.get((current_caller().workspace_id, request.media_id))
        if media is None:
            raise MediaNotFound
        return storage_pb.GetMediaResponse(media=media)

    async def ListMedia(self, request: storage_pb.ListMediaRequest, context: Context) -> storage_pb.ListMediaResponse:
        """Pages of three at most."""
        self._check()
        self.listings.append(request)
        assert current_caller().kind is CallerKind.SERVICE
        assert request.page_size > 0
        span = (request.create_time_from.ToNanoseconds(), request.create_time_before.ToNanoseconds())
        waiting = [media for media in self.media.values() if span[0] <= media.create_time.ToNanoseconds() < span[1]]
        waiting = sorted((media for media in waiting if _place(media) > request.page_token), key=_place)
        page = waiting[: min(3, request.page_size)]
        token = _place(page[-1]) if len(waiting) > len(page) else ""
        return storage_pb.ListMediaResponse(media=page, next_page_token=token)

    async def DeleteMedia(self, request: storage_pb.DeleteMediaRequest, context: Context) -> storage_pb.DeleteMediaResponse:
        self._check()
        self.media.pop((current_caller().workspace_id, request.media_id), None)
        self.uploads.pop((current_caller().workspace_id, request.media_id), None)
        return storage_pb.DeleteMediaResponse()

    async def DeleteArtefact(self, request: storage_pb.DeleteArtefactRequest, context: Context) -> storage_pb.DeleteArtefactResponse:
        self._check()
        self.artefacts.discard((current_caller().workspace_id, request.artefact_id))
        return storage_pb.DeleteArtefactResponse()

    def _check(self) -> None:
        if self.broken:
            self.refusal_count += 1
            raise ServiceUnavailable(service="storage")


def _place(media: Media) -> str:
    return f"{media.create_time.ToNanoseconds():020d} {media.id}"


class DatasetsPeer(DatasetsServiceServicer):
    """Training sets by workspace, owner, dataset and set."""

    def __init__(self) -> None:
        self.sets: dict[tuple[str, str, str, str], datasets_pb.DescribeTrainingSetResponse] = {}

    def add_set(self, *types: str, workspace_id: str = "ws", owner: str = "workspace") -> datasets_pb.DescribeTrainingSetResponse:
        """A published set of a dataset that can be trained on; what it says may be changed."""
        described = datasets_pb.DescribeTrainingSetResponse(file_count=2, ready_file_count=2, ready_duration_ms=300_000)
        described.dataset.id, described.dataset.name = new_id(), "Yard"
        described.dataset.artifact_types.extend(ArtifactType(name=name) for name in types)
        described.annotation_set.id, described.annotation_set.version = new_id(), 3
        described.annotation_set.state = AnnotationSet.STATE_PUBLISHED
        for name in types:
            described.annotation_set.annotations_by_type[name] = 1
        self.sets[workspace_id, owner, described.dataset.id, described.annotation_set.id] = described
        return described

    async def DescribeTrainingSet(
        self, request: datasets_pb.DescribeTrainingSetRequest, context: Context
    ) -> datasets_pb.DescribeTrainingSetResponse:
        caller = current_caller()
        described = self.sets.get((caller.workspace_id, caller.owner, request.dataset_id, request.annotation_set_id))
        if described is None:
            raise DatasetNotFound
        return described
