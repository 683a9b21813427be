"""Uploads and transcriptions."""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.contracts.actionvibe.orders import read_order
from services.gateway.contracts.actionvibe.rows import STATES, estimated_time, full_row, list_document
from services.gateway.domain import Client, Json, Reason, Refusal
from services.gateway.operation import FORM_TYPE
from services.gateway.pages import list_page, read_page
from services.gateway.peers import Peers
from services.gateway.requests import check_id, read_id, read_idempotency_key, read_query
from services.gateway.submissions import Submissions
from services.gateway.summaries.summaries import Summaries
from services.gateway.transcripts import Transcripts, parse
from services.mesh.status import RemoteError, is_remote
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import GetJobRequest
from steno.storage.v1.storage_service_pb2 import GetMediaRequest

_ACCEPTED = "The file is accepted. Its transcription is under way."


@dataclass(frozen=True)
class Transcriptions:
    """Takes files in and shows what became of them."""

    peers: Peers
    submissions: Submissions
    transcripts: Transcripts
    summaries: Summaries

    async def upload(self, request: Request, client: Client) -> Response:
        """201 with the new transcription, or 200 with the one of the same Idempotency-Key. Raises Refusal and RemoteError."""
        _check_form(request)
        answer = await self.submissions.submit(request, client, read_order, read_idempotency_key(request))
        body: dict[str, Json] = {
            "transcription_id": answer.job.id,
            "status": "processing",
            "message": _ACCEPTED,
            "estimated_time": estimated_time(answer.job.audio_duration_ms),
        }
        if answer.claim_token:
            body["claim_token"] = answer.claim_token
        if answer.replayed:
            return JSONResponse(body, 200, {"x-idempotent-replay": "true"})
        return JSONResponse(body, 201)

    async def of_path(self, request: Request, client: Client) -> Response:
        """The transcription whose id ends the path. Raises Refusal and RemoteError."""
        return await self._transcription(read_id(request, "transcription_id"))

    async def of_query(self, request: Request, client: Client) -> Response:
        """The transcription whose id is in the query. Raises Refusal and RemoteError."""
        text = read_query(request, "id", "")
        if not text:
            raise Refusal(Reason.BAD_REQUEST, "Send the transcription's id as the query parameter id.")
        return await self._transcription(check_id(text))

    async def list(self, request: Request, client: Client) -> Response:
        """A page of transcriptions. Raises Refusal and RemoteError."""
        page = read_page(request, "limit")
        status = read_query(request, "status", "all")
        if status not in STATES:
            raise Refusal(Reason.BAD_REQUEST, f"status is one of {', '.join(STATES)}.")
        return JSONResponse(list_document(page, await list_page(self.peers.jobs, page, STATES[status])))

    async def _transcription(self, job_id: str) -> Response:
        job = (await self.peers.jobs.GetJob(GetJobRequest(job_id=job_id))).job
        size = await self._file_size(job)
        if job.state != Job.STATE_DONE:
            return JSONResponse(full_row(job, None, None, size))
        document = await self.transcripts.read(job)
        summary = await self.summaries.read(job.transcript_artefact_id, document)
        return await asyncio.to_thread(lambda: JSONResponse(full_row(job, parse(document), summary, size)))

    async def _file_size(self, job: Job) -> int | None:
        """Bytes that were uploaded; None once storage has forgotten them."""
        try:
            answer = await self.peers.storage.GetMedia(GetMediaRequest(media_id=job.media_id))
        except RemoteError as error:
            if is_remote(error, "MEDIA_NOT_FOUND"):
                return None
            raise
        return answer.media.size_bytes or None


def _check_form(request: Request) -> None:
    """Any other kind of body, or none, holds no file. Raises Refusal."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != FORM_TYPE:
        raise Refusal(Reason.NO_FILE)
