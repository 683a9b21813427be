"""The workspace and API key that a new installation starts with."""

from services.mesh.channel import Channel, open_channel
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as
from services.stack.data_directory import DataDirectory, FirstWorkspace
from steno.billing.v1.accounts_service_pb2 import DESCRIPTOR, CreateApiKeyRequest, CreateWorkspaceRequest
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceStub


async def ensure_first_workspace(data: DataDirectory, billing_address: str, signer: TokenSigner) -> FirstWorkspace:
    """The workspace of an earlier start, or a new one with a key. Raises RemoteError."""
    known = data.read_first_workspace()
    if known is not None:
        return known
    services = [DESCRIPTOR.services_by_name["AccountsService"]]
    async with open_channel(billing_address, audience="billing", signer=signer, services=services, timeout_seconds=15) as channel:
        workspace = await _create(channel)
    data.write_first_workspace(workspace)
    return workspace


async def _create(channel: Channel) -> FirstWorkspace:
    accounts = AccountsServiceStub(channel)
    with calling_as(Caller(CallerKind.OPERATOR, "operator")):
        made = await accounts.CreateWorkspace(CreateWorkspaceRequest(name="default"))
    workspace_id: str = made.workspace.id
    with calling_as(Caller(CallerKind.OPERATOR, "operator", workspace_id, "workspace")):
        key = await accounts.CreateApiKey(CreateApiKeyRequest(name="first key"))
    return FirstWorkspace(workspace_id, key.secret)
