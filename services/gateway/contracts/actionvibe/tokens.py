"""The API tokens of a workspace: they are its API keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.api_keys import list_all_keys
from services.gateway.contracts.actionvibe.schemas import GenerateToken, ListTokens, Permissions, TokenCall
from services.gateway.domain import Client, Json, Reason, Refusal
from services.gateway.peers import Peers
from services.gateway.requests import check_id, read_json
from services.gateway.units import rfc3339_second, timestamp
from services.mesh.identity import Scope
from steno.billing.v1.accounts_service_pb2 import CreateApiKeyRequest, GetWorkspaceRequest, RevokeApiKeyRequest
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.billing.v1.workspace_pb2 import Workspace

_REVOKED = "The API token has ended."
# Everything that holds keys and members of its own is a team to a client of this contract.
_WORKSPACE_TYPE = "team"
_SCOPES = (Scope.READ, Scope.WRITE, Scope.ADMIN)


@dataclass(frozen=True)
class Tokens:
    """Makes, lists and ends tokens."""

    peers: Peers

    async def manage(self, request: Request, client: Client) -> Response:
        """Does what the body's action says. Raises Refusal and RemoteError."""
        if not client.manages_workspace:
            raise Refusal(Reason.FORBIDDEN)
        call = (await read_json(request, TokenCall)).root
        if isinstance(call, GenerateToken):
            return JSONResponse(await self._generate(call, client))
        if isinstance(call, ListTokens):
            return JSONResponse(await self._list())
        return JSONResponse(await self._revoke(call.token_id))

    async def _generate(self, asked: GenerateToken, client: Client) -> Mapping[str, Json]:
        if asked.workspace_id is not None and asked.workspace_id.lower() != client.caller.workspace_id:
            raise Refusal(Reason.FORBIDDEN, "workspaceId is not the workspace of this token.")
        call = CreateApiKeyRequest(name=asked.name, kind=ApiKey.KIND_WORKSPACE, scopes=_scopes(asked.permissions))
        if asked.expires_in_days is not None:
            call.expire_time.CopyFrom(timestamp(datetime.now(UTC) + timedelta(days=asked.expires_in_days)))
        workspace = await self._workspace()
        answer = await self.peers.accounts.CreateApiKey(call)
        return _generated(answer.api_key, answer.secret, workspace)

    async def _list(self) -> Mapping[str, Json]:
        workspace = await self._workspace()
        now = datetime.now(UTC)
        return {"tokens": [_row(key, workspace, now) for key in await list_all_keys(self.peers.accounts)]}

    async def _revoke(self, token_id: str) -> Mapping[str, Json]:
        await self.peers.accounts.RevokeApiKey(RevokeApiKeyRequest(id=check_id(token_id)))
        return {"message": _REVOKED}

    async def _workspace(self) -> Workspace:
        return (await self.peers.accounts.GetWorkspace(GetWorkspaceRequest())).workspace


def _scopes(permissions: Permissions) -> list[str]:
    return [scope.value for scope in _SCOPES if getattr(permissions, scope.value)]


def _permissions(key: ApiKey) -> dict[str, Json]:
    """What a key may do; one without scopes may do all three."""
    return {scope.value: not key.scopes or scope.value in key.scopes for scope in _SCOPES}


def _generated(key: ApiKey, secret: str, workspace: Workspace) -> dict[str, Json]:
    return {
        "token": secret,
        "tokenId": key.id,
        "name": key.name,
        "workspace": {"id": workspace.id, "name": workspace.name, "type": _WORKSPACE_TYPE},
        "permissions": _permissions(key),
        "expiresAt": rfc3339_second(key, "expire_time"),
        "createdAt": rfc3339_second(key, "create_time"),
    }


def _row(key: ApiKey, workspace: Workspace, now: datetime) -> Json:
    ended = key.HasField("revoke_time") or (key.HasField("expire_time") and key.expire_time.ToDatetime(tzinfo=UTC) <= now)
    return {
        "id": key.id,
        "name": key.name,
        "permissions": _permissions(key),
        "workspace": {"id": workspace.id, "name": workspace.name},
        "is_active": not ended,
        "created_at": rfc3339_second(key, "create_time"),
        "last_used_at": rfc3339_second(key, "last_use_time"),
        "expires_at": rfc3339_second(key, "expire_time"),
    }
