"""The key that `steno up` prints works, also after somebody revoked it or changed the database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.mesh.channel import check_health, open_channel
from services.mesh.errors import MeshError
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as, load_key
from services.mesh.nats_config import write_config
from services.stack.children import Child
from services.stack.data_directory import DataDirectory, FirstWorkspace
from services.stack.first_workspace import ensure_first_workspace
from services.stack.layout import choose_ports, nats_child, service_children
from steno.billing.v1.accounts_service_pb2 import DESCRIPTOR, ListApiKeysRequest, RevokeApiKeyRequest
from steno.billing.v1.accounts_service_pb2_grpc import AccountsServiceAsyncStub

READY_SECONDS = 60.0


@asynccontextmanager
async def _billing(data: DataDirectory) -> AsyncIterator[str]:
    """The address of the real service on the real nats-server."""
    data.prepare()
    ports, config = choose_ports(0), data.root / "nats.conf"
    write_config(config, ports.nats, data.events)
    specs = [next(spec for spec in service_children(data, ports, {}) if spec.name == "billing"), nats_child(config)]
    children = [Child(spec, data.logs / f"{spec.name}.log") for spec in specs]
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for child in children:
            tasks.create_task(child.keep_running(stopping), name=child.spec.name)
        try:
            await _serving(ports.address("billing"), _signer(data))
            yield ports.address("billing")
        finally:
            stopping.set()
            for child in children:
                await child.stop()


def _signer(data: DataDirectory) -> TokenSigner:
    return TokenSigner(load_key(data.identity_key), "operator")


async def _serving(address: str, signer: TokenSigner) -> None:
    async with asyncio.timeout(READY_SECONDS), open_channel(address, audience="billing", signer=signer) as channel:
        while True:
            try:
                if await check_health(channel):
                    return
            except MeshError:
                await asyncio.sleep(0.05)


async def _revoke_all(address: str, signer: TokenSigner, workspace_id: str) -> None:
    services = [DESCRIPTOR.services_by_name["AccountsService"]]
    async with open_channel(address, audience="billing", signer=signer, services=services) as channel:
        accounts = AccountsServiceAsyncStub(channel)
        with calling_as(Caller(CallerKind.OPERATOR, "operator", workspace_id, "workspace")):
            for key in (await accounts.ListApiKeys(ListApiKeysRequest())).api_keys:
                await accounts.RevokeApiKey(RevokeApiKeyRequest(id=key.id))


async def test_first_key_is_kept_renewed_when_revoked_and_replaced_with_its_database(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    async with _billing(data) as address:
        signer = _signer(data)
        first = await ensure_first_workspace(data, address, signer)
        assert await ensure_first_workspace(data, address, signer) == first

        await _revoke_all(address, signer, first.workspace_id)
        renewed = await ensure_first_workspace(data, address, signer)
        assert renewed.workspace_id == first.workspace_id
        assert renewed.api_key != first.api_key

        data.write_first_workspace(FirstWorkspace("01890000-0000-7000-8000-00000000dead", first.api_key))
        replaced = await ensure_first_workspace(data, address, signer)
        assert replaced.workspace_id not in (first.workspace_id, "01890000-0000-7000-8000-00000000dead")
        assert data.read_first_workspace() == replaced
