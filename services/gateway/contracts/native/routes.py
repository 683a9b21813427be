"""The native contract's routes."""

from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from services.gateway.auth import Authenticator
from services.gateway.contracts.native.accounts import Accounts
from services.gateway.contracts.native.results import Results
from services.gateway.contracts.native.rows import job_row
from services.gateway.contracts.native.submission import Submission
from services.gateway.domain import Client
from services.gateway.endpoint import Endpoint, Handler, OpenEndpoint
from services.gateway.events import ENDED, EventStream, JobEvents, last_event_id
from services.gateway.limits import Slots
from services.gateway.peers import Peers
from services.gateway.playback import Playback
from services.gateway.requests import read_id, read_number
from steno.jobs.v1.jobs_service_pb2 import DeleteJobRequest, GetJobRequest, ListJobsRequest

PREFIXES = ("/api/v1", "/whipscribe/api/v1")
_DEFAULT_LIMIT = 20
_MAX_LIMIT = 100


@dataclass(frozen=True)
class Native:
    """The native contract over its parts."""

    peers: Peers
    authenticator: Authenticator
    submission: Submission
    results: Results
    accounts: Accounts
    events: JobEvents
    event_slots: Slots
    playback: Playback

    def routes(self) -> list[BaseRoute]:
        """Every route, under every prefix the contract is mounted at."""
        return [route for prefix in PREFIXES for route in self._routes(prefix)]

    def _routes(self, prefix: str) -> list[BaseRoute]:
        accounts, results = self.accounts, self.results
        submit = Endpoint("/transcribe", {"POST": self.submission.submit}, self.authenticator, self.submission.precheck)
        paths: dict[str, dict[str, Handler]] = {
            "/jobs/{job_id}": {"GET": self.status, "DELETE": self.delete},
            "/jobs": {"GET": self.list_jobs},
            "/jobs/{job_id}/result": {"GET": results.result},
            "/jobs/{job_id}/transcript": {"GET": results.result},
            "/jobs/{job_id}/events": {"GET": self.follow},
            "/jobs/{job_id}/audio/url": {"GET": results.audio_url},
            "/me": {"GET": accounts.me},
            "/credits": {"GET": accounts.credits},
            "/auth/api-keys": {"GET": accounts.list_keys, "POST": accounts.create_key},
            "/auth/api-keys/{key_id}": {"DELETE": accounts.revoke_key},
        }
        return [
            Route(f"{prefix}/transcribe", submit, methods=["POST"]),
            *(
                Route(prefix + path, Endpoint(path, handlers, self.authenticator), methods=list(handlers))
                for path, handlers in paths.items()
            ),
            Route(f"{prefix}/media/{{media_id}}", OpenEndpoint("/media/{media_id}", self.play), methods=["GET"]),
        ]

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
