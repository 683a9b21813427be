"""Workspaces beside the first one."""

import asyncio

from services.mesh.channel import open_channel
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as, load_key
from steno.billing.v1 import accounts_service_pb2 as accounts
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceStub
from tests.e2e.mesh import Mesh


def new_workspace(mesh: Mesh, name: str) -> str:
    """The secret of a key of a fresh workspace."""
    return asyncio.run(_make(mesh, name))


async def _make(mesh: Mesh, name: str) -> str:
    signer = TokenSigner(load_key(mesh.data / "keys" / "identity.pem"), "operator")
    address, tls = mesh.ready["grpc"]["billing"], mesh.tls("operator")
    async with open_channel(address, audience="billing", signer=signer, timeout_seconds=20, tls=tls) as channel:
        stub = AccountsServiceStub(channel)
        with calling_as(Caller(CallerKind.OPERATOR, "operator")):
            workspace = (await stub.CreateWorkspace(accounts.CreateWorkspaceRequest(name=name))).workspace
        with calling_as(Caller(CallerKind.OPERATOR, "operator", workspace.id, "workspace")):
            return (await stub.CreateApiKey(accounts.CreateApiKeyRequest(name="first"))).secret
