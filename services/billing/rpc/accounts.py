"""AccountsService."""

from typing import Any

from services.billing.rpc import fields, to_proto
from services.billing.usecases import accounts, assignment, users
from services.billing.usecases.authentication import KeyUses, authenticate
from services.billing.usecases.billing import Billing
from services.billing.usecases.permissions import check_acts_for_workspace, check_manages_keys, scopes_to_give
from services.mesh.errors import InvalidField, InvalidPageToken
from services.mesh.identity import current_caller
from services.mesh.ids import is_id
from steno.billing.v1 import accounts_service_pb2 as messages
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceServicer
from steno.billing.v1.api_key_pb2 import ApiKey


def _kind(value: int) -> int:
    if value not in ApiKey.Kind.values():
        raise InvalidField("Not a kind of key.", field="kind")
    return value or ApiKey.KIND_WORKSPACE


class AccountsRpc(AccountsServiceServicer):
    """AccountsService over the use cases."""

    def __init__(self, billing: Billing, uses: KeyUses) -> None:
        self._billing, self._uses = billing, uses

    async def Authenticate(self, request: messages.AuthenticateRequest, context: Any) -> messages.AuthenticateResponse:
        holder = await authenticate(self._billing, self._uses, request.api_key)
        return messages.AuthenticateResponse(
            api_key=to_proto.api_key(holder.api_key),
            workspace=to_proto.workspace(holder.workspace),
            plan=self._billing.plans.get(holder.workspace.plan),
            guest_plan=self._billing.plans.get(self._billing.plans.guest),
        )

    async def CreateWorkspace(self, request: messages.CreateWorkspaceRequest, context: Any) -> messages.CreateWorkspaceResponse:
        workspace = await accounts.create_workspace(self._billing, fields.name(request.name), request.plan)
        return messages.CreateWorkspaceResponse(workspace=to_proto.workspace(workspace))

    async def GetWorkspace(self, request: messages.GetWorkspaceRequest, context: Any) -> messages.GetWorkspaceResponse:
        workspace = await accounts.get_workspace(self._billing, current_caller().workspace_id)
        return messages.GetWorkspaceResponse(workspace=to_proto.workspace(workspace), plan=self._billing.plans.get(workspace.plan))

    async def ResolveUser(self, request: messages.ResolveUserRequest, context: Any) -> messages.ResolveUserResponse:
        user = await users.resolve_user(self._billing, check_acts_for_workspace(current_caller()).workspace_id, fields.email(request.email))
        return messages.ResolveUserResponse(user=to_proto.user(user), plan=self._billing.plans.get(user.plan))

    async def ResolveGuest(self, request: messages.ResolveGuestRequest, context: Any) -> messages.ResolveGuestResponse:
        wallet = await users.resolve_guest(self._billing, check_acts_for_workspace(current_caller()).workspace_id, request.guest_token)
        return messages.ResolveGuestResponse(wallet_id=wallet.id, plan=self._billing.plans.get(wallet.plan))

    async def GetPlan(self, request: messages.GetPlanRequest, context: Any) -> messages.GetPlanResponse:
        return messages.GetPlanResponse(plan=await assignment.plan_of(self._billing, current_caller()))

    async def AssignPlan(self, request: messages.AssignPlanRequest, context: Any) -> messages.AssignPlanResponse:
        workspace_id = fields.identifier(request.workspace_id, "workspace_id")
        email = fields.email(request.email) if request.email else ""
        await assignment.assign_plan(self._billing, workspace_id, email, request.plan)
        return messages.AssignPlanResponse()

    async def CreateApiKey(self, request: messages.CreateApiKeyRequest, context: Any) -> messages.CreateApiKeyResponse:
        caller = check_manages_keys(current_caller())
        expires = fields.time(request.expire_time, "expire_time") if request.HasField("expire_time") else None
        key, secret = await accounts.create_key(
            self._billing,
            caller.workspace_id,
            fields.name(request.name),
            kind=_kind(request.kind),
            scopes=scopes_to_give(caller, fields.scopes(request.scopes)),
            expire_time=expires,
            test=request.test,
        )
        return messages.CreateApiKeyResponse(api_key=to_proto.api_key(key), secret=secret)

    async def ListApiKeys(self, request: messages.ListApiKeysRequest, context: Any) -> messages.ListApiKeysResponse:
        caller = check_manages_keys(current_caller())
        limit, after_id = fields.page_size(request.page_size), request.page_token or None
        if after_id is not None and not is_id(after_id):
            raise InvalidPageToken
        rows = await accounts.list_keys(self._billing, caller.workspace_id, after_id, limit + 1)
        more = len(rows) > limit
        return messages.ListApiKeysResponse(
            api_keys=map(to_proto.api_key, rows[:limit]), next_page_token=rows[limit - 1].id if more else ""
        )

    async def RevokeApiKey(self, request: messages.RevokeApiKeyRequest, context: Any) -> messages.RevokeApiKeyResponse:
        caller = check_manages_keys(current_caller())
        await accounts.revoke_key(self._billing, caller.workspace_id, request.id)
        return messages.RevokeApiKeyResponse()
