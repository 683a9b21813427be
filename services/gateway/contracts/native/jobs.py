"""Jobs as their owners follow, list and remove them."""

from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from services.gateway.contracts.native.rows import job_row
from services.gateway.domain import Client
from services.gateway.events import ENDED, EventStream, JobEvents, last_event_id
from services.gateway.limits import Slots
from services.gateway.peers import Peers
from services.gateway.requests import read_id, read_number
from services.mesh import fault
from steno.jobs.v1.jobs_service_pb2 import DeleteJobRequest, GetJobRequest, ListJobsRequest

DEFAULT_LIMIT = 20
MAX_LIMIT = 100


@dataclass(frozen=True)
class Jobs:
    """Shows and removes the caller's jobs."""

    peers: Peers
    events: JobEvents
    event_slots: Slots

    async def status(self, request: Request, client: Client) -> Response:
        """The job's row. Raises Refusal and RemoteError."""
        answer = await self.peers.jobs.GetJob(GetJobRequest(job_id=read_id(request, "job_id")))
        return JSONResponse(job_row(answer.job, client))

    async def list_jobs(self, request: Request, client: Client) -> Response:
        """The caller's newest jobs. Raises Refusal and RemoteError."""
        limit = read_number(request, "limit", default=DEFAULT_LIMIT, least=1, most=MAX_LIMIT)
        answer = await self.peers.jobs.ListJobs(ListJobsRequest(page_size=limit))
        return JSONResponse([job_row(job, client) for job in answer.jobs])

    async def delete(self, request: Request, client: Client) -> Response:
        """204 once the job is cancelled or removed. Raises Refusal and RemoteError."""
        await self.peers.jobs.DeleteJob(DeleteJobRequest(job_id=read_id(request, "job_id")))
        fault.point("gateway.delete.before_reply")
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
