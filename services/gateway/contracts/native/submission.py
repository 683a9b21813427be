"""The submits: a file in a form, a URL, and an upload that the client makes by itself."""

from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.contracts.native.orders import order_of, read_order
from services.gateway.contracts.native.schemas import UploadOrder, UrlOrder
from services.gateway.direct_uploads import DirectUploads
from services.gateway.domain import Client, Json, Reason, Refusal
from services.gateway.requests import read_id, read_idempotency_key, read_json
from services.gateway.submissions import Submissions, key_or_new
from services.gateway.uploads import too_large
from services.mesh import fault
from services.mesh.errors import InvalidUrl
from services.mesh.status import RemoteError, is_remote
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import CompleteUploadRequest, CreateJobRequest, CreateJobResponse

_COMPLETE_MARGIN_SECONDS = 5.0


@dataclass(frozen=True)
class Submission:
    """Takes media in."""

    submissions: Submissions
    uploads: DirectUploads

    async def submit(self, request: Request, client: Client) -> Response:
        """202 with the new job, or 200 with the one that the same request made before. Raises Refusal and RemoteError."""
        answer = await self.submissions.submit(request, client, read_order, read_idempotency_key(request))
        return accepted(answer, _submitted(answer, client))

    async def submit_url(self, request: Request, client: Client) -> Response:
        """The same for media to fetch. Raises Refusal, InvalidUrl and RemoteError."""
        key = read_idempotency_key(request)
        asked = await read_json(request, UrlOrder)
        order = order_of(asked, "url")
        if not asked.url:
            raise InvalidUrl
        call = CreateJobRequest(url=asked.url, source=order.source, config=order.config, idempotency_key=key_or_new(key))
        answer = await self.submissions.create_job(call)
        fault.point("gateway.url.before_reply")
        return accepted(answer, _submitted(answer, client))

    async def init_upload(self, request: Request, client: Client) -> Response:
        """The same for a file that the client will PUT: where to. Raises Refusal and RemoteError."""
        key = read_idempotency_key(request)
        asked = await read_json(request, UploadOrder)
        order = order_of(asked, "upload")
        most = self.submissions.limits(client).max_size_bytes
        if (asked.size_bytes or 0) > most:
            raise too_large(most)
        upload = CreateJobRequest.Upload(filename=asked.filename, max_size_bytes=asked.size_bytes or most)
        call = CreateJobRequest(upload=upload, source=order.source, config=order.config, idempotency_key=key_or_new(key))
        answer = await self.submissions.create_job(call)
        fault.point("gateway.order.before_reply")
        return accepted(answer, {**_submitted(answer, client), **self._destination(answer, asked.size_bytes or most)})

    async def complete_upload(self, request: Request, client: Client) -> Response:
        """202 once the bytes that the client PUT are found to be media and credit is held. Raises Refusal and RemoteError."""
        call = CompleteUploadRequest(job_id=read_id(request, "job_id"))
        timeout_seconds = self.submissions.settings.commit_timeout_seconds + _COMPLETE_MARGIN_SECONDS
        try:
            job = (await self.submissions.peers.jobs.CompleteUpload(call, timeout=timeout_seconds)).job
        except RemoteError as error:
            if is_remote(error, "UPLOAD_EXPIRED"):
                raise Refusal(Reason.JOB_FAILED, "The upload was not completed in time.", extra={"reason": error.reason_name}) from error
            raise
        fault.point("gateway.complete.before_reply")
        return JSONResponse(_order(job, client), 202)

    def _destination(self, answer: CreateJobResponse, max_bytes: int) -> dict[str, Json]:
        """Where the bytes go, for as long as they have not arrived."""
        waits = answer.HasField("upload_url")
        left = answer.upload_url.expire_time.ToDatetime(tzinfo=UTC) - datetime.now(UTC) if waits else None
        return {
            "upload_url": self.uploads.public_url(answer.upload_url.url) if waits else None,
            "method": "PUT",
            "expires_in": max(int(left.total_seconds()), 0) if left else 0,
            "max_bytes": max_bytes,
            "complete_url": f"/api/v1/uploads/{answer.job.id}/complete",
        }


def _order(job: Job, client: Client) -> dict[str, Json]:
    return {"job_id": job.id, "status": "queued", "tier": client.tier_level}


def _submitted(answer: CreateJobResponse, client: Client) -> dict[str, Json]:
    body = _order(answer.job, client)
    return {**body, "claim_token": answer.claim_token} if answer.claim_token else body


def accepted(answer: CreateJobResponse, body: dict[str, Json]) -> Response:
    """The answer to the first request, repeated for its replays."""
    if answer.replayed:
        return JSONResponse(body, 200, {"x-idempotent-replay": "true"})
    return JSONResponse(body, 202)
