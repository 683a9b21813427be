"""`steno workspaces`: the first workspace of a mesh and its key, and a new key where all are lost."""

from services.client.display import print_json, say
from services.mesh.identity import Caller, CallerKind, calling_as
from services.stack.operating import Access, open_billing, run_operation
from steno.billing.v1.accounts_service_pb2 import CreateApiKeyRequest, CreateWorkspaceRequest
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub


def run_create_workspace(access: Access, name: str, plan: str, key_name: str, *, as_json: bool) -> None:
    """Make a workspace with a key and print the key, the only time that it is shown. Raises CommandFailed."""
    workspace_id, secret = run_operation(_create(access, name, plan, key_name))
    _print(workspace_id, secret, f"Workspace {workspace_id} ({name}) is made.", as_json=as_json)


def run_add_key(access: Access, workspace_id: str, key_name: str, *, as_json: bool) -> None:
    """Give a workspace another key and print it, the only time that it is shown. Raises CommandFailed."""
    secret = run_operation(_add_key(access, workspace_id, key_name))
    _print(workspace_id, secret, f"Workspace {workspace_id} has the key {key_name}.", as_json=as_json)


async def _create(access: Access, name: str, plan: str, key_name: str) -> tuple[str, str]:
    async with open_billing(access) as channel:
        accounts = AccountsServiceAsyncStub(channel)
        made = await accounts.CreateWorkspace(CreateWorkspaceRequest(name=name, plan=plan))
        return made.workspace.id, await _with_key(accounts, made.workspace.id, key_name)


async def _add_key(access: Access, workspace_id: str, key_name: str) -> str:
    async with open_billing(access) as channel:
        return await _with_key(AccountsServiceAsyncStub(channel), workspace_id, key_name)


async def _with_key(accounts: AccountsServiceAsyncStub, workspace_id: str, key_name: str) -> str:
    with calling_as(Caller(CallerKind.OPERATOR, "operator", workspace_id, "workspace")):
        return (await accounts.CreateApiKey(CreateApiKeyRequest(name=key_name))).secret


def _print(workspace_id: str, secret: str, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"workspace_id": workspace_id, "api_key": secret})
        return
    print(secret)
    say(f"{sentence} Keep the secret above: it is not shown again.")
