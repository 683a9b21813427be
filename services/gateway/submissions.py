"""A file in, a job out, or nothing at all: what every contract's submit does between its form and its answer."""

import asyncio
import hashlib
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import grpc
from google.protobuf.duration_pb2 import Duration
from starlette.requests import ClientDisconnect, Request

from services.gateway.addresses import TrustedProxies
from services.gateway.domain import Client, Reason, Refusal
from services.gateway.limits import Slots
from services.gateway.multipart import PLAIN_FORM, FieldMemory, FormLimits, FormReader, read_boundary
from services.gateway.peers import Peers
from services.gateway.requests import content_length
from services.gateway.settings import GatewaySettings
from services.gateway.uploads import HashSink, Upload, UploadLimits, open_upload, receive_form, too_large
from services.mesh import fault
from services.mesh.channel import check_health
from services.mesh.identity import CallerKind
from services.mesh.status import RemoteError, is_remote
from services.mesh.turns import Turns
from steno.jobs.v1.job_pb2 import Job, TranscriptionConfig
from steno.jobs.v1.jobs_service_pb2 import CreateJobRequest, CreateJobResponse, FindJobRequest, FindJobResponse
from steno.storage.v1.media_pb2 import Media

# In all, and for one try: a client is answered within fifteen seconds, whatever hangs.
_CREATE_SECONDS = 11.0
_TRY_SECONDS = 4.0
_LAST_TRY_SECONDS = 1.0
_CREATE_TRIES = 3
_HEALTH_SECONDS = 3.0
_RETRY_SECONDS = 0.3
_TURN_SECONDS = 3.0
_LARGE_FIELDS_BYTES = 256 * 1024**2
# After these nobody knows whether the job exists; the same idempotency key asks again without making a second one.
_UNKNOWN_OUTCOMES = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,
    }
)
Fields = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Order:
    """What a submit asks for, apart from its media."""

    source: Job.Source.ValueType
    config: TranscriptionConfig
    title: str = ""


ReadOrder = Callable[[Fields], Order]
CompleteOrder = Callable[[Fields, Order], Awaitable[Order]]


async def as_read(fields: Fields, order: Order) -> Order:
    """The order of a form that needs nothing more once it has been read."""
    return order


@dataclass(frozen=True)
class Submissions:
    """Takes media in, for every contract."""

    peers: Peers
    settings: GatewaySettings
    slots: Slots
    proxies: TrustedProxies
    field_memory: FieldMemory = field(default_factory=lambda: FieldMemory(_LARGE_FIELDS_BYTES))
    turns: Turns = field(default_factory=Turns)

    def precheck(self, request: Request, form_limits: FormLimits = PLAIN_FORM) -> None:
        """Refuse by the announced length alone, whoever asks. Raises Refusal."""
        most = self.settings.max_upload_bytes
        if content_length(request) > most + form_limits.max_overhead_bytes:
            raise too_large(most)

    async def submit(self, request: Request, client: Client, read_order: ReadOrder, key: str = "") -> CreateJobResponse:
        """The job of the form's file; the client's idempotency key, if any, finds an earlier one. Raises Refusal and RemoteError."""
        form, limits = self._form(request, client)
        name = repr((client.caller.owner, client.caller.key_id, key_or_new(key)))
        with self.slots.taken(self._address(request, client)):
            # Of several at once the first stores its file; the others then find its job and store nothing.
            async with self.turns.patiently(name, _TURN_SECONDS):
                earlier = await self._find(key) if key else None
                if earlier is None:
                    return await self._create(request, form, limits, read_order, as_read, lambda order, media: (key_or_new(key), 0))
            await _check_same(request, form, limits, earlier, read_order)
            return CreateJobResponse(job=earlier.job, replayed=True, claim_token=earlier.claim_token)

    async def submit_again(
        self,
        request: Request,
        client: Client,
        read_order: ReadOrder,
        ttl_seconds: int,
        *,
        complete: CompleteOrder = as_read,
        form_limits: FormLimits = PLAIN_FORM,
    ) -> CreateJobResponse:
        """The same as `submit` for clients that retry without a key: the same API key, bytes and fields find the job
        that they made within the time. complete: what to do with the order once the whole form has been read and the media
        stored. Raises Refusal and RemoteError."""
        form, limits = self._form(request, client, form_limits)
        address = self._address(request, client)
        asker = f"{client.caller.owner}|{address}" if address else client.caller.owner
        with self.slots.taken(address), closing(form):
            return await self._create(
                request, form, limits, read_order, complete, lambda order, media: (content_key(order, media, asker), ttl_seconds)
            )

    def limits(self, client: Client) -> UploadLimits:
        """What the client's plan and this installation accept."""
        most = self.settings.max_upload_bytes
        return UploadLimits(
            max_size_bytes=min(client.plan.max_upload_bytes or most, most),
            max_duration_ms=client.plan.max_duration_ms,
            stall_seconds=self.settings.upload_stall_seconds,
            commit_timeout_seconds=self.settings.commit_timeout_seconds,
        )

    async def create_job(self, request: CreateJobRequest) -> CreateJobResponse:
        """Create, asking again while nobody knows the outcome; the request carries an idempotency key. Raises RemoteError."""
        until = time.monotonic() + _CREATE_SECONDS
        for attempt in range(1, _CREATE_TRIES):
            try:
                return await self.peers.jobs.CreateJob(request, timeout=_TRY_SECONDS)
            except RemoteError as error:
                if error.code not in _UNKNOWN_OUTCOMES:
                    raise
            fault.point("gateway.create.before_retry")
            await asyncio.sleep(_RETRY_SECONDS * 2**attempt * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret
        return await self.peers.jobs.CreateJob(request, timeout=max(_LAST_TRY_SECONDS, until - time.monotonic()))

    async def _storage_answers(self) -> bool:
        return await check_health(self.peers.channels["storage"], _HEALTH_SECONDS)

    def _form(self, request: Request, client: Client, form_limits: FormLimits = PLAIN_FORM) -> tuple[FormReader, UploadLimits]:
        form = FormReader(read_boundary(request.headers.getlist("content-type")), form_limits, self.field_memory)
        limits = self.limits(client)
        if content_length(request) > limits.max_size_bytes + form_limits.max_overhead_bytes:
            raise too_large(limits.max_size_bytes)
        return form, limits

    def _address(self, request: Request, client: Client) -> str:
        """Where a guest without a wallet comes from, which is all that tells it from others of its application; empty for everyone else."""
        if client.caller.kind is not CallerKind.GUEST or client.caller.wallet_id:
            return ""
        return self.proxies.client_address(request.scope)

    async def _find(self, key: str) -> FindJobResponse | None:
        try:
            return await self.peers.jobs.FindJob(FindJobRequest(idempotency_key=key))
        except RemoteError as error:
            if is_remote(error, "JOB_NOT_FOUND"):
                return None
            raise

    async def _create(
        self,
        request: Request,
        form: FormReader,
        limits: UploadLimits,
        read_order: ReadOrder,
        complete: CompleteOrder,
        key_of: Callable[[Order, Media], tuple[str, int]],
    ) -> CreateJobResponse:
        async with open_upload(self.peers, limits, self._storage_answers) as upload:
            await receive_form(
                request.stream(), form, upload, max_size_bytes=limits.max_size_bytes, before_file=lambda: _check_fields(form, read_order)
            )
            fault.point("gateway.submit.after_body")
            order = read_order(form.fields)
            # First, for storage gives up an upload that stays open in silence.
            media = await upload.commit()
            order = await complete(form.fields, order)
            if await request.is_disconnected():
                raise ClientDisconnect
            key, ttl_seconds = key_of(order, media)
            call = CreateJobRequest(media_id=media.id, source=order.source, config=order.config, title=order.title, idempotency_key=key)
            if ttl_seconds:
                call.idempotency_ttl.CopyFrom(Duration(seconds=ttl_seconds))
            return await self._create_of(upload, call)

    async def _create_of(self, upload: Upload, call: CreateJobRequest) -> CreateJobResponse:
        upload.keep(True)
        fault.point("gateway.submit.before_create")
        try:
            answer = await self.create_job(call)
        except RemoteError as error:
            upload.keep(error.code in _UNKNOWN_OUTCOMES or is_remote(error, "MEDIA_TAKEN"))
            raise
        upload.keep(answer.job.media_id == call.media_id)
        fault.point("gateway.submit.before_reply")
        return answer


def key_or_new(key: str) -> str:
    """The client's idempotency key, or one of our own, so that asking again after an unknown outcome makes no second job."""
    return key or f"gateway:{uuid.uuid4()}"


def content_key(order: Order, media: Media, asker: str) -> str:
    """An idempotency key that the same bytes and fields of one asker always have; users of an application share its API key."""
    digest = hashlib.sha256(order.config.SerializeToString(deterministic=True))
    digest.update(f"\0{order.source}\0{order.title}\0{asker}\0{media.sha256}".encode())
    return f"content:{digest.hexdigest()}"


def _check_fields(form: FormReader, read_order: ReadOrder) -> None:
    """Refuse by the fields that came before the file, so that nobody uploads in vain. Raises Refusal."""
    read_order(form.fields)


async def _check_same(request: Request, form: FormReader, limits: UploadLimits, earlier: FindJobResponse, read_order: ReadOrder) -> None:
    """Read the request again, keeping nothing. Raises Refusal when it is not the one that made the job."""
    sink = HashSink()
    await receive_form(
        request.stream(), form, sink, max_size_bytes=limits.max_size_bytes, before_file=lambda: _check_fields(form, read_order)
    )
    order = read_order(form.fields)
    job = earlier.job
    if (sink.sha256, order.source, order.config) != (earlier.media_sha256, job.source, job.config):
        raise Refusal(Reason.IDEMPOTENCY_KEY_REUSED)
