"""POST /jobs/claim: what a guest submitted becomes the signed-in user's."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.contracts.native.schemas import MAX_CLAIM_TOKENS, Claim
from services.gateway.domain import Client, Reason, Refusal
from services.gateway.peers import Peers
from services.gateway.requests import read_json
from services.mesh import fault
from steno.jobs.v1.jobs_service_pb2 import ClaimJobsRequest

_USER = "user:"


@dataclass(frozen=True)
class Claims:
    """Makes guests' jobs their users'."""

    peers: Peers

    async def claim(self, request: Request, client: Client) -> Response:
        """How many jobs changed hands; a token that proves nothing counts for nothing. Raises Refusal and RemoteError."""
        if not client.caller.owner.startswith(_USER):
            raise Refusal(Reason.AUTHENTICATION_REQUIRED, "Sign in to claim jobs: send a user's bearer token.")
        tokens = (await read_json(request, Claim)).claim_tokens
        if len(tokens) > MAX_CLAIM_TOKENS:
            raise Refusal(Reason.BAD_REQUEST, f"Claim at most {MAX_CLAIM_TOKENS} jobs at once.")
        if not tokens:
            return JSONResponse({"claimed": 0})
        answer = await self.peers.jobs.ClaimJobs(ClaimJobsRequest(claim_tokens=tokens))
        fault.point("gateway.claim.before_reply")
        return JSONResponse({"claimed": answer.claimed_count})
