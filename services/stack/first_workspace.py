"""The workspace and API key that a new installation starts with."""

from services.mesh import fault
from services.mesh.channel import open_channel
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as
from services.mesh.status import RemoteError, is_remote
from services.mesh.tls.certificates import Certificates
from services.stack.data_directory import DataDirectory, FirstWorkspace
from steno.billing.v1.accounts_service_pb2 import DESCRIPTOR, AuthenticateRequest, CreateApiKeyRequest, CreateWorkspaceRequest
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub

_TIMEOUT_SECONDS = 15.0


async def ensure_first_workspace(
    data: DataDirectory, billing_address: str, signer: TokenSigner, tls: Certificates | None = None
) -> FirstWorkspace:
    """The workspace of an earlier start with a key that works, or a new one. Raises RemoteError."""
    services = [DESCRIPTOR.services_by_name["AccountsService"]]
    known = data.read_first_workspace()
    async with open_channel(
        billing_address, audience="billing", signer=signer, services=services, timeout_seconds=_TIMEOUT_SECONDS, tls=tls
    ) as channel:
        accounts = AccountsServiceAsyncStub(channel)
        if known is not None and await _works(accounts, known.api_key):
            return known
        workspace = await _renew(accounts, known.workspace_id) if known is not None else await _create(accounts)
    fault.point("stack.first_workspace.before_write")
    data.write_first_workspace(workspace)
    return workspace


async def _works(accounts: AccountsServiceAsyncStub, api_key: str) -> bool:
    """False once somebody revoked the key, or when the database is another one."""
    try:
        with calling_as(Caller(CallerKind.OPERATOR, "operator")):
            await accounts.Authenticate(AuthenticateRequest(api_key=api_key))
    except RemoteError as error:
        if is_remote(error, "INVALID_API_KEY"):
            return False
        raise
    return True


async def _renew(accounts: AccountsServiceAsyncStub, workspace_id: str) -> FirstWorkspace:
    """Another key of the workspace; another workspace when this one is gone."""
    try:
        return await _with_key(accounts, workspace_id)
    except RemoteError as error:
        if is_remote(error, "WORKSPACE_NOT_FOUND"):
            return await _create(accounts)
        raise


async def _create(accounts: AccountsServiceAsyncStub) -> FirstWorkspace:
    with calling_as(Caller(CallerKind.OPERATOR, "operator")):
        made = await accounts.CreateWorkspace(CreateWorkspaceRequest(name="default"))
    return await _with_key(accounts, made.workspace.id)


async def _with_key(accounts: AccountsServiceAsyncStub, workspace_id: str) -> FirstWorkspace:
    with calling_as(Caller(CallerKind.OPERATOR, "operator", workspace_id, "workspace")):
        key = await accounts.CreateApiKey(CreateApiKeyRequest(name="first key"))
    return FirstWorkspace(workspace_id, key.secret)
