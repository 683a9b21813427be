"""The Icana contract's operations."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.contract import Contract
from services.gateway.contracts.icana import schemas
from services.gateway.contracts.icana.errors import icana_errors
from services.gateway.contracts.icana.orders import read_order
from services.gateway.contracts.icana.rows import STATES, job_row, usage_row
from services.gateway.domain import Client, Json, Reason, Refusal
from services.gateway.operation import FORM_TYPE, Answer, Body, Operation, RateKind
from services.gateway.pages import list_page, read_page
from services.gateway.peers import Peers
from services.gateway.requests import read_id, read_idempotency_key, read_query
from services.gateway.submissions import Submissions
from services.gateway.transcripts import Transcripts, parse
from steno.billing.v1.billing_service_pb2 import GetUsageRequest
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import GetJobRequest

PREFIX = "/icana/api/v1"
_ACCEPTED = "The file is accepted. Ask for the job until its status is completed or failed."
_MEDIA = ("EMPTY_MEDIA", "UNSUPPORTED_MEDIA", "MEDIA_TOO_LARGE", "MEDIA_TOO_LONG")
_SUBMIT = (Reason.BAD_REQUEST, Reason.NO_FILE, Reason.BAD_FIELD, Reason.BAD_LANGUAGE, *_MEDIA, "NO_CREDITS", Reason.OVERLOADED)


@dataclass(frozen=True)
class Icana:
    """The Icana contract over its parts."""

    peers: Peers
    submissions: Submissions
    transcripts: Transcripts

    def contract(self) -> Contract:
        """What it can do, and where."""
        return Contract("icana", "Icana", (PREFIX,), self._operations(), icana_errors(), owns=("/icana",))

    def _operations(self) -> Sequence[Operation]:
        return [
            Operation(
                "POST",
                "/transcribe",
                "icana_submit",
                "Transcribe a file",
                self.submit,
                {200: Answer("The job is accepted.", schemas.IcanaAccepted)},
                _SUBMIT,
                Body(schemas.IcanaFields, FORM_TYPE, "file"),
                headers=schemas.IcanaHeaders,
                rate=RateKind.UPLOADS,
                precheck=self.submissions.precheck,
            ),
            Operation(
                "GET",
                "/jobs",
                "icana_list_jobs",
                "The account's jobs, newest first",
                self.list_jobs,
                {200: Answer("A page of jobs.", schemas.IcanaJobList)},
                (Reason.BAD_REQUEST,),
                query=schemas.IcanaListQuery,
            ),
            Operation(
                "GET",
                "/jobs/{job_id}",
                "icana_get_job",
                "A job with its result",
                self.get_job,
                {200: Answer("The job.", schemas.IcanaJob)},
                (Reason.BAD_ID, "JOB_NOT_FOUND", "AUTHENTICATION_REQUIRED"),
            ),
            Operation(
                "GET",
                "/usage",
                "icana_usage",
                "The current billing period",
                self.usage,
                {200: Answer("What was used of it.", schemas.IcanaUsage)},
            ),
        ]

    async def submit(self, request: Request, client: Client) -> Response:
        """200 with the job's id. Raises Refusal and RemoteError."""
        answer = await self.submissions.submit(request, client, read_order, read_idempotency_key(request))
        body: dict[str, Json] = {"job_id": answer.job.id, "status": "processing", "message": _ACCEPTED}
        if answer.claim_token:
            body["claim_token"] = answer.claim_token
        return JSONResponse(body, headers={"x-idempotent-replay": "true"} if answer.replayed else None)

    async def get_job(self, request: Request, client: Client) -> Response:
        """The job with its texts once it is done. Raises Refusal and RemoteError."""
        job = (await self.peers.jobs.GetJob(GetJobRequest(job_id=read_id(request, "job_id")))).job
        if job.state != Job.STATE_DONE:
            return JSONResponse(job_row(job, None))
        document = await self.transcripts.read(job)
        return await asyncio.to_thread(lambda: JSONResponse(job_row(job, parse(document))))

    async def list_jobs(self, request: Request, client: Client) -> Response:
        """A page of jobs without their texts. Raises Refusal and RemoteError."""
        page, states = read_page(request, "page_size"), _states(request)
        found = await list_page(self.peers.jobs, page, states)
        return JSONResponse(
            {
                "items": [job_row(job, None) for job in found.jobs],
                "total": found.total,
                "page": page.number,
                "page_size": page.size,
                "has_more": page.skip + len(found.jobs) < found.total and bool(found.jobs),
            }
        )

    async def usage(self, request: Request, client: Client) -> Response:
        """The current billing period. Raises RemoteError."""
        return JSONResponse(usage_row((await self.peers.billing.GetUsage(GetUsageRequest())).usage))


def _states(request: Request) -> Sequence[Job.State.ValueType]:
    """The states behind the asked status. Raises Refusal."""
    status = read_query(request, "status", "")
    if status and status not in STATES:
        raise Refusal(Reason.BAD_REQUEST, f"status is one of {', '.join(STATES)}.")
    return STATES[status] if status else ()
