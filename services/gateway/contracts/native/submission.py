"""POST /transcribe: a file in, a job out, or nothing at all."""

import asyncio
import random
import uuid
from dataclasses import dataclass

import grpc
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from services.gateway.contracts.native.orders import Order, read_order
from services.gateway.domain import Client, Reason, Refusal
from services.gateway.limits import RateLimiter, Slots
from services.gateway.multipart import MAX_OVERHEAD_BYTES, FormReader, read_boundary
from services.gateway.peers import Peers
from services.gateway.requests import content_length, read_idempotency_key
from services.gateway.settings import GatewaySettings
from services.gateway.uploads import HashSink, Upload, UploadLimits, open_upload, receive_form, too_large
from services.mesh.status import RemoteError, is_remote
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import CreateJobRequest, CreateJobResponse, FindJobRequest, FindJobResponse

_CREATE_SECONDS = 10.0
_CREATE_TRIES = 3
_RETRY_SECONDS = 0.3
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


@dataclass(frozen=True)
class Submission:
    """Takes files in."""

    peers: Peers
    settings: GatewaySettings
    slots: Slots
    limiter: RateLimiter

    def precheck(self, request: Request) -> None:
        """Refuse by the announced length alone, whoever asks. Raises Refusal."""
        if content_length(request) > self.settings.max_upload_bytes + MAX_OVERHEAD_BYTES:
            raise too_large(self.settings.max_upload_bytes)

    async def submit(self, request: Request, client: Client) -> Response:
        """202 with the new job, or 200 with the one that the same request made before."""
        self.limiter.take(client.caller.key_id)
        key = read_idempotency_key(request)
        form = FormReader(read_boundary(request.headers.getlist("content-type")))
        limits = self._limits(client)
        if content_length(request) > limits.max_size_bytes + MAX_OVERHEAD_BYTES:
            raise too_large(limits.max_size_bytes)
        with self.slots.taken():
            earlier = await self._find(key) if key else None
            if earlier is not None:
                await _check_same(request, form, limits, earlier)
                return _accepted(earlier.job, client, replayed=True)
            answer = await self._create(request, form, limits, key or f"gateway:{uuid.uuid4()}")
        return _accepted(answer.job, client, replayed=answer.replayed)

    def _limits(self, client: Client) -> UploadLimits:
        most = self.settings.max_upload_bytes
        return UploadLimits(
            max_size_bytes=min(client.plan.max_upload_bytes or most, most),
            max_duration_ms=client.plan.max_duration_ms,
            stall_seconds=self.settings.upload_stall_seconds,
            commit_timeout_seconds=self.settings.commit_timeout_seconds,
        )

    async def _find(self, key: str) -> FindJobResponse | None:
        try:
            return await self.peers.jobs.FindJob(FindJobRequest(idempotency_key=key))
        except RemoteError as error:
            if is_remote(error, "JOB_NOT_FOUND"):
                return None
            raise

    async def _create(self, request: Request, form: FormReader, limits: UploadLimits, key: str) -> CreateJobResponse:
        async with open_upload(self.peers.storage, limits) as upload:
            await receive_form(
                request.stream(), form, upload, max_size_bytes=limits.max_size_bytes, before_file=lambda: _check_fields(form)
            )
            order = read_order(form.fields)
            media = await upload.commit()
            if await request.is_disconnected():
                raise ClientDisconnect
            return await self._create_job(upload, media.id, order, key)

    async def _create_job(self, upload: Upload, media_id: str, order: Order, key: str) -> CreateJobResponse:
        request = CreateJobRequest(media_id=media_id, source=order.source, config=order.config, idempotency_key=key)
        upload.keep(True)
        try:
            answer = await self._until_known(request)
        except RemoteError as error:
            upload.keep(error.code in _UNKNOWN_OUTCOMES or is_remote(error, "MEDIA_TAKEN"))
            raise
        upload.keep(answer.job.media_id == media_id)
        return answer

    async def _until_known(self, request: CreateJobRequest) -> CreateJobResponse:
        for attempt in range(1, _CREATE_TRIES):
            try:
                return await self.peers.jobs.CreateJob(request, timeout=_CREATE_SECONDS)
            except RemoteError as error:
                if error.code not in _UNKNOWN_OUTCOMES:
                    raise
            await asyncio.sleep(_RETRY_SECONDS * 2**attempt * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret
        return await self.peers.jobs.CreateJob(request, timeout=_CREATE_SECONDS)


def _check_fields(form: FormReader) -> None:
    """Refuse by the fields that came before the file, so that nobody uploads in vain. Raises Refusal."""
    read_order(form.fields)


async def _check_same(request: Request, form: FormReader, limits: UploadLimits, earlier: FindJobResponse) -> None:
    """Read the request again, keeping nothing. Raises Refusal when it is not the one that made the job."""
    sink = HashSink()
    await receive_form(request.stream(), form, sink, max_size_bytes=limits.max_size_bytes, before_file=lambda: _check_fields(form))
    order = read_order(form.fields)
    job = earlier.job
    if (sink.sha256, order.source, order.config) != (earlier.media_sha256, job.source, job.config):
        raise Refusal(Reason.IDEMPOTENCY_KEY_REUSED)


def _accepted(job: Job, client: Client, *, replayed: bool) -> Response:
    """The answer to the first request, repeated to the letter for its replays."""
    body = {"job_id": job.id, "status": "queued", "tier": client.tier_level}
    if replayed:
        return JSONResponse(body, 200, {"x-idempotent-replay": "true"})
    return JSONResponse(body, 202)
