"""GET /me, GET /credits, GET /usage and the workspace's API keys."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.api_keys import list_all_keys
from services.gateway.contracts.native.rows import KINDS, epoch, key_row
from services.gateway.contracts.native.schemas import NewKey
from services.gateway.domain import Client, Json, Reason, Refusal
from services.gateway.peers import Peers
from services.gateway.requests import read_id, read_json
from services.gateway.units import hours, timestamp
from steno.billing.v1.accounts_service_pb2 import CreateApiKeyRequest, RevokeApiKeyRequest
from steno.billing.v1.billing_service_pb2 import GetBalanceRequest, GetUsageRequest


@dataclass(frozen=True)
class Accounts:
    """What a client may know and change of its own account."""

    peers: Peers

    async def me(self, request: Request, client: Client) -> Response:
        """What the server sees in the request."""
        body: dict[str, Json] = {"email": client.email, "tier": client.tier, "retention_days": client.retention_days}
        return JSONResponse({**body, "signed_in": client.signed_in})

    async def credits(self, request: Request, client: Client) -> Response:
        """What the caller can still spend, in hours of audio. Raises RemoteError."""
        balance = (await self.peers.billing.GetBalance(GetBalanceRequest())).balance
        names = ("available", "held", "used", "granted")
        body: dict[str, Json] = {f"{name}_hours": hours(getattr(balance, f"{name}_ms")) for name in names}
        return JSONResponse({"plan": client.plan.name, "tier": client.tier, **body})

    async def usage(self, request: Request, client: Client) -> Response:
        """What was used in the current billing period. Raises RemoteError."""
        usage = (await self.peers.billing.GetUsage(GetUsageRequest())).usage
        names = ("included", "used", "remaining", "overage")
        body: dict[str, Json] = {f"{name}_hours": hours(getattr(usage, f"{name}_ms")) for name in names}
        period: dict[str, Json] = {"period_start": epoch(usage, "start_time"), "period_end": epoch(usage, "end_time")}
        uploads: dict[str, Json] = {"uploads": usage.upload_count, "uploads_limit": usage.plan.monthly_uploads or None}
        plan: dict[str, Json] = {"plan": usage.plan.name, "tier": client.tier}
        return JSONResponse({**plan, **period, **body, "overage_cents": usage.overage_cents, **uploads})

    async def create_key(self, request: Request, client: Client) -> Response:
        """201 with the secret, shown this once. Raises Refusal and RemoteError."""
        _check_may_manage(client)
        asked = await read_json(request, NewKey)
        call = CreateApiKeyRequest(name=asked.name, kind=KINDS[asked.kind], test=asked.test, scopes=asked.scopes)
        if asked.expires_at is not None:
            call.expire_time.CopyFrom(timestamp(asked.expires_at))
        answer = await self.peers.accounts.CreateApiKey(call)
        return JSONResponse({**key_row(answer.api_key), "key": answer.secret}, 201)

    async def list_keys(self, request: Request, client: Client) -> Response:
        """Every key of the workspace, newest first, without its secret. Raises Refusal and RemoteError."""
        _check_may_manage(client)
        return JSONResponse([key_row(key) for key in await list_all_keys(self.peers.accounts)])

    async def revoke_key(self, request: Request, client: Client) -> Response:
        """204 once the key has ended. Raises Refusal and RemoteError."""
        _check_may_manage(client)
        await self.peers.accounts.RevokeApiKey(RevokeApiKeyRequest(id=read_id(request, "key_id")))
        return Response(status_code=204)


def _check_may_manage(client: Client) -> None:
    if not client.manages_workspace:
        raise Refusal(Reason.FORBIDDEN)
