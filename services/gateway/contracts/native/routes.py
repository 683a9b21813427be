"""The native contract's operations."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from services.gateway.contract import Contract
from services.gateway.contracts.native import schemas
from services.gateway.contracts.native.accounts import Accounts
from services.gateway.contracts.native.errors import native_errors
from services.gateway.contracts.native.results import Results
from services.gateway.contracts.native.rows import job_row
from services.gateway.contracts.native.submission import Submission
from services.gateway.domain import Client, Reason
from services.gateway.events import ENDED, EventStream, JobEvents, last_event_id
from services.gateway.limits import Slots
from services.gateway.operation import FORM_TYPE, Answer, Body, OpenOperation, Operation, RateKind
from services.gateway.peers import Peers
from services.gateway.playback import Playback
from services.gateway.requests import read_id, read_number
from services.mesh.identity import Scope
from steno.jobs.v1.jobs_service_pb2 import DeleteJobRequest, GetJobRequest, ListJobsRequest

PREFIXES = ("/api/v1", "/whipscribe/api/v1")
_DEFAULT_LIMIT = 20
_MAX_LIMIT = 100
_OF_JOB = (Reason.BAD_ID, "JOB_NOT_FOUND", "AUTHENTICATION_REQUIRED")
_UNREADABLE = (Reason.NOT_READY, Reason.JOB_FAILED, Reason.JOB_CANCELLED, Reason.BAD_FORMAT)
_MEDIA = ("EMPTY_MEDIA", "UNSUPPORTED_MEDIA", "MEDIA_TOO_LARGE", "MEDIA_TOO_LONG")
_ORDER = (Reason.BAD_FIELD, Reason.BAD_SOURCE, Reason.BAD_LANGUAGE, Reason.BAD_IDEMPOTENCY_KEY, Reason.IDEMPOTENCY_KEY_REUSED, "NO_CREDITS")
_REPLAY = {"X-Idempotent-Replay": "true"}
_AUDIO_TYPES = ("audio/*", "video/*")
_TEXT_TYPES = ("text/plain", "application/vnd.openxmlformats-officedocument.wordprocessingml.document")


@dataclass(frozen=True)
class Native:
    """The native contract over its parts."""

    peers: Peers
    submission: Submission
    results: Results
    accounts: Accounts
    events: JobEvents
    event_slots: Slots
    playback: Playback

    def contract(self, upgrade_url: str) -> Contract:
        """What it can do, and where."""
        operations: list[Operation | OpenOperation] = [*self._submits(), *self._jobs(), *self._accounts(), self._media()]
        return Contract("native", "Steno", PREFIXES, operations, native_errors(upgrade_url))

    def _submits(self) -> Sequence[Operation]:
        return [
            Operation(
                "POST",
                "/transcribe",
                "submit_file",
                "Transcribe a file",
                self.submission.submit,
                {
                    202: Answer("The job is accepted.", schemas.Accepted),
                    200: Answer("The same request made this job before.", schemas.Accepted, headers=_REPLAY),
                },
                (Reason.BAD_REQUEST, Reason.NO_FILE, Reason.FILE_TOO_LARGE, *_MEDIA, *_ORDER, Reason.OVERLOADED),
                Body(schemas.SubmitFields, FORM_TYPE, "file"),
                headers=schemas.SubmitHeaders,
                rate=RateKind.UPLOADS,
                precheck=self.submission.submissions.precheck,
            ),
        ]

    def _jobs(self) -> Sequence[Operation]:
        results = self.results
        read = {200: Answer("The transcript.", schemas.TranscriptDocument, _TEXT_TYPES)}
        unreadable = (*_OF_JOB, *_UNREADABLE)
        return [
            Operation(
                "GET",
                "/jobs",
                "list_jobs",
                "The caller's jobs, newest first",
                self.list_jobs,
                {200: Answer("Some of the jobs.", schemas.JobRow, is_list=True)},
                (Reason.BAD_REQUEST,),
                query=schemas.ListQuery,
            ),
            Operation(
                "GET", "/jobs/{job_id}", "get_job", "Where a job stands", self.status, {200: Answer("The job.", schemas.JobRow)}, _OF_JOB
            ),
            Operation(
                "DELETE",
                "/jobs/{job_id}",
                "delete_job",
                "Cancel a job in flight, remove an ended one",
                self.delete,
                {204: Answer("It is cancelled or removed.")},
                _OF_JOB,
            ),
            Operation(
                "GET",
                "/jobs/{job_id}/result",
                "get_result",
                "The transcript of a job",
                results.result,
                read,
                unreadable,
                query=schemas.ResultQuery,
            ),
            Operation(
                "GET",
                "/jobs/{job_id}/transcript",
                "get_transcript",
                "The transcript of a job, under its other name",
                results.result,
                read,
                unreadable,
                query=schemas.ResultQuery,
            ),
            Operation(
                "GET",
                "/jobs/{job_id}/events",
                "follow_job",
                "A job's changes as server-sent events",
                self.follow,
                {200: Answer("Events until the job ends.", media_types=("text/event-stream",)), 204: Answer("The last event was seen.")},
                (*_OF_JOB, Reason.OVERLOADED),
            ),
            Operation(
                "GET",
                "/jobs/{job_id}/audio/url",
                "get_audio_url",
                "Where the job's audio can be played from",
                results.audio_url,
                {200: Answer("A URL that works for a while.", schemas.PlaybackUrl)},
                (*_OF_JOB, Reason.AUDIO_EXPIRED, Reason.AUDIO_MISSING),
            ),
        ]

    def _accounts(self) -> Sequence[Operation]:
        accounts = self.accounts
        return [
            Operation("GET", "/me", "get_me", "What the server sees", accounts.me, {200: Answer("The caller.", schemas.Me)}),
            Operation(
                "GET", "/credits", "get_credits", "The caller's credit", accounts.credits, {200: Answer("The balance.", schemas.Credits)}
            ),
            Operation(
                "GET",
                "/auth/api-keys",
                "list_api_keys",
                "The workspace's API keys",
                accounts.list_keys,
                {200: Answer("Every key, newest first.", schemas.KeyRow, is_list=True)},
                scope=Scope.ADMIN,
                rate=RateKind.TOKENS,
            ),
            Operation(
                "POST",
                "/auth/api-keys",
                "create_api_key",
                "Make an API key",
                accounts.create_key,
                {201: Answer("The key with its secret, shown this once.", schemas.CreatedKey)},
                (Reason.BAD_REQUEST, Reason.BAD_FIELD),
                Body(schemas.NewKey),
                scope=Scope.ADMIN,
                rate=RateKind.TOKENS,
            ),
            Operation(
                "DELETE",
                "/auth/api-keys/{key_id}",
                "revoke_api_key",
                "End an API key",
                accounts.revoke_key,
                {204: Answer("It has ended.")},
                (Reason.BAD_ID, "API_KEY_NOT_FOUND"),
                scope=Scope.ADMIN,
                rate=RateKind.TOKENS,
            ),
        ]

    def _media(self) -> OpenOperation:
        return OpenOperation(
            "GET",
            "/media/{media_id}",
            "play_media",
            "The audio behind a playback URL",
            self.play,
            {
                200: Answer("The bytes.", media_types=_AUDIO_TYPES),
                206: Answer("A range of them.", media_types=_AUDIO_TYPES),
            },
            (Reason.BAD_ID, Reason.NOT_FOUND),
        )

    async def status(self, request: Request, client: Client) -> Response:
        """The job's row. Raises Refusal and RemoteError."""
        answer = await self.peers.jobs.GetJob(GetJobRequest(job_id=read_id(request, "job_id")))
        return JSONResponse(job_row(answer.job, client))

    async def list_jobs(self, request: Request, client: Client) -> Response:
        """The caller's newest jobs. Raises Refusal and RemoteError."""
        limit = read_number(request, "limit", default=_DEFAULT_LIMIT, least=1, most=_MAX_LIMIT)
        answer = await self.peers.jobs.ListJobs(ListJobsRequest(page_size=limit))
        return JSONResponse([job_row(job, client) for job in answer.jobs])

    async def delete(self, request: Request, client: Client) -> Response:
        """204 once the job is cancelled or removed. Raises Refusal and RemoteError."""
        await self.peers.jobs.DeleteJob(DeleteJobRequest(job_id=read_id(request, "job_id")))
        return Response(status_code=204)

    async def follow(self, request: Request, client: Client) -> ASGIApp:
        """The job's events; 204 tells a reconnecting client that it has seen the last one. Raises Refusal and RemoteError."""
        job = (await self.peers.jobs.GetJob(GetJobRequest(job_id=read_id(request, "job_id")))).job
        seen = last_event_id(request.headers.get("last-event-id", ""))
        if job.state in ENDED and seen >= job.revision:
            return Response(status_code=204)
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        row = partial(job_row, client=client)
        return EventStream(self.event_slots, self.events.stream(job.id, min(seen, job.revision), row))

    async def play(self, request: Request) -> Response:
        """The audio behind a playback URL. Raises Refusal."""
        return await self.playback.relay(request, read_id(request, "media_id"))
