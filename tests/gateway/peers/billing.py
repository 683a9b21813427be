"""Keys and a balance."""

from typing import Any

from services.mesh.errors import InvalidApiKey, NotFound
from services.mesh.identity import CallerKind, current_caller
from steno.billing.v1 import accounts_service_pb2 as accounts
from steno.billing.v1 import accounts_service_pb2_grpc as accounts_grpc
from steno.billing.v1 import billing_service_pb2 as billing
from steno.billing.v1 import billing_service_pb2_grpc as billing_grpc
from steno.billing.v1.ledger_pb2 import Balance
from steno.billing.v1.workspace_pb2 import Plan, Workspace
from tests.gateway.peers.world import World

PLAN = Plan(name="studio", tier="paid", tier_level=2, retention_days=365, max_upload_bytes=32 * 1024**2, max_duration_ms=36_000_000)


class ApiKeyNotFound(NotFound):
    """No such key."""


class AccountsPeer(accounts_grpc.AccountsServiceServicer):
    """Keys."""

    def __init__(self, world: World) -> None:
        self.world = world

    def plan(self) -> Plan:
        """The one plan, with the rates of the moment."""
        plan = Plan()
        plan.CopyFrom(PLAN)
        plan.rate_classes.extend(self.world.rates)
        return plan

    async def Authenticate(self, request: Any, context: Any) -> accounts.AuthenticateResponse:
        self.world.authentications += 1
        assert current_caller().kind is CallerKind.SERVICE
        key = self.world.keys.get(request.api_key)
        if key is None or key.HasField("revoke_time"):
            raise InvalidApiKey
        return accounts.AuthenticateResponse(
            api_key=key, workspace=Workspace(id=key.workspace_id), plan=self.plan(), guest_plan=self.plan()
        )

    async def CreateApiKey(self, request: Any, context: Any) -> accounts.CreateApiKeyResponse:
        secret = self.world.new_key(request.kind, current_caller().workspace_id)
        key = self.world.keys[secret]
        key.name = request.name
        key.test = request.test
        if request.HasField("expire_time"):
            key.expire_time.CopyFrom(request.expire_time)
        return accounts.CreateApiKeyResponse(api_key=key, secret=secret)

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
    """A balance."""

    async def GetBalance(self, request: Any, context: Any) -> billing.GetBalanceResponse:
        return billing.GetBalanceResponse(balance=Balance(available_ms=3_600_000, held_ms=1_800_000, used_ms=0, granted_ms=5_400_000))
