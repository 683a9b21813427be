"""POST /transcribe."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.contracts.native.orders import read_order
from services.gateway.domain import Client, Json
from services.gateway.limits import RateLimiter
from services.gateway.requests import read_idempotency_key
from services.gateway.submissions import Submissions
from steno.jobs.v1.jobs_service_pb2 import CreateJobResponse


@dataclass(frozen=True)
class Submission:
    """Takes files in."""

    submissions: Submissions
    limiter: RateLimiter

    async def submit(self, request: Request, client: Client) -> Response:
        """202 with the new job, or 200 with the one that the same request made before. Raises Refusal and RemoteError."""
        self.limiter.take(client.caller.key_id)
        answer = await self.submissions.submit(request, client, read_order, read_idempotency_key(request))
        return accepted(answer, client)


def accepted(answer: CreateJobResponse, client: Client) -> Response:
    """The answer to the first request, repeated to the letter for its replays."""
    body: dict[str, Json] = {"job_id": answer.job.id, "status": "queued", "tier": client.tier_level}
    if answer.claim_token:
        body["claim_token"] = answer.claim_token
    if answer.replayed:
        return JSONResponse(body, 200, {"x-idempotent-replay": "true"})
    return JSONResponse(body, 202)
