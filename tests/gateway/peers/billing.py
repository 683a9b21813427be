"""Keys, people and a balance."""

from typing import Any

from services.mesh.errors import InvalidApiKey, NotFound, Unauthenticated
from services.mesh.identity import CallerKind, current_caller
from services.mesh.ids import new_id
from steno.billing.v1 import accounts_service_pb2 as accounts
from steno.billing.v1 import accounts_service_pb2_grpc as accounts_grpc
from steno.billing.v1 import billing_service_pb2 as billing
from steno.billing.v1 import billing_service_pb2_grpc as billing_grpc
from steno.billing.v1.ledger_pb2 import Balance, Usage
from steno.billing.v1.user_pb2 import User
from steno.billing.v1.workspace_pb2 import Plan, Workspace
from tests.gateway.peers.world import World

PLAN = Plan(name="studio", tier="paid", tier_level=2, retention_days=365, max_upload_bytes=32 * 1024**2, max_duration_ms=36_000_000)

FREE = Plan(name="free", tier="free", tier_level=1, retention_days=30, max_upload_bytes=32 * 1024**2, max_duration_ms=36_000_000)
BUYER = Plan(name="buyer", tier="paid", tier_level=2, retention_days=90, max_upload_bytes=32 * 1024**2, max_duration_ms=36_000_000)
GUEST = Plan(name="guest", tier="guest", tier_level=0, retention_days=3, max_upload_bytes=32 * 1024**2, max_duration_ms=36_000_000)


class InvalidGuestToken(Unauthenticated):
    """No such wallet."""


class ApiKeyNotFound(NotFound):
    """No such key."""


class AccountsPeer(accounts_grpc.AccountsServiceServicer):
    """Keys."""

    def __init__(self, world: World) -> None:
        self.world = world

    def plan(self, of: Plan = PLAN) -> Plan:
        """A plan with the rates of the moment."""
        plan = Plan()
        plan.CopyFrom(of)
        plan.rate_classes.extend(self.world.rates)
        return plan

    async def Authenticate(self, request: Any, context: Any) -> accounts.AuthenticateResponse:
        self.world.authentications += 1
        assert current_caller().kind is CallerKind.SERVICE
        key = self.world.keys.get(request.api_key)
        if key is None or key.HasField("revoke_time"):
            raise InvalidApiKey
        return accounts.AuthenticateResponse(
            api_key=key, workspace=Workspace(id=key.workspace_id), plan=self.plan(), guest_plan=self.plan(GUEST)
        )

    def _resolving_for(self) -> str:
        """The workspace that the gateway asks in the name of."""
        self.world.resolutions += 1
        caller = current_caller()
        assert (caller.kind, caller.service) == (CallerKind.SERVICE, "gateway")
        return caller.workspace_id

    async def ResolveUser(self, request: Any, context: Any) -> accounts.ResolveUserResponse:
        workspace_id = self._resolving_for()
        new = User(id=new_id(), workspace_id=workspace_id, email=request.email, plan=FREE.name)
        user = self.world.users.setdefault((workspace_id, request.email), new)
        return accounts.ResolveUserResponse(user=user, plan=self.plan(FREE))

    async def ResolveGuest(self, request: Any, context: Any) -> accounts.ResolveGuestResponse:
        wallet_id = self.world.wallets.get((self._resolving_for(), request.guest_token))
        if wallet_id is None:
            raise InvalidGuestToken
        return accounts.ResolveGuestResponse(wallet_id=wallet_id, plan=self.plan(BUYER))

    async def GetPlan(self, request: Any, context: Any) -> accounts.GetPlanResponse:
        caller = current_caller()
        assert (self._resolving_for(), caller.owner, caller.wallet_id) == (caller.workspace_id, "workspace", "")
        return accounts.GetPlanResponse(plan=self.plan())

    async def CreateApiKey(self, request: Any, context: Any) -> accounts.CreateApiKeyResponse:
        secret = self.world.new_key(request.kind, current_caller().workspace_id)
        key = self.world.keys[secret]
        key.name = request.name
        key.scopes.extend(request.scopes)
        key.test = request.test
        if request.HasField("expire_time"):
            key.expire_time.CopyFrom(request.expire_time)
        return accounts.CreateApiKeyResponse(api_key=key, secret=secret)

    async def GetWorkspace(self, request: Any, context: Any) -> accounts.GetWorkspaceResponse:
        workspace = Workspace(id=current_caller().workspace_id, name="Studio")
        return accounts.GetWorkspaceResponse(workspace=workspace, plan=self.plan())

    async def ListApiKeys(self, request: Any, context: Any) -> accounts.ListApiKeysResponse:
        mine = [key for key in self.world.keys.values() if key.workspace_id == current_caller().workspace_id]
        return accounts.ListApiKeysResponse(api_keys=[key for key in mine if not key.HasField("revoke_time")])

    async def RevokeApiKey(self, request: Any, context: Any) -> accounts.RevokeApiKeyResponse:
        for key in self.world.keys.values():
            if key.id == request.id and key.workspace_id == current_caller().workspace_id:
                key.revoke_time.GetCurrentTime()
                return accounts.RevokeApiKeyResponse()
        raise ApiKeyNotFound


class BillingPeer(billing_grpc.BillingServiceServicer):
    """A balance, and the usage that the world knows."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def GetBalance(self, request: Any, context: Any) -> billing.GetBalanceResponse:
        return billing.GetBalanceResponse(balance=Balance(available_ms=3_600_000, held_ms=1_800_000, used_ms=0, granted_ms=5_400_000))

    async def GetUsage(self, request: Any, context: Any) -> billing.GetUsageResponse:
        usage = Usage(included_ms=36_000_000, used_ms=39_600_000, overage_ms=3_600_000, overage_cents=60, upload_count=7, plan=PLAN)
        usage.start_time.FromSeconds(1_798_761_600)
        usage.end_time.FromSeconds(1_801_440_000)
        return billing.GetUsageResponse(usage=self.world.usages.get(current_caller().workspace_id, usage))
