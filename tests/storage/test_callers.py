"""Who may touch media: ids alone open nothing to the guests of an application."""

from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from services.mesh.identity import Caller, CallerKind, TokenVerifier, load_key, write_new_key
from services.mesh.server import open_server
from services.mesh.status import from_rpc_error
from services.storage.app import SCHEMA, open_fetcher, registrations
from services.storage.settings import StorageSettings
from steno.storage.v1 import storage_service_pb2 as messages
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from tests.storage.conftest import WORKSPACE, Storehouse

if TYPE_CHECKING:
    from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="session")
KINDS = {"sk_live_app": (CallerKind.GUEST, "guest:app"), "sk_live_workspace": (CallerKind.KEY, "workspace")}


async def authenticate(secret: str) -> Caller:
    """Whom a key stands for, as billing tells storage."""
    kind, owner = KINDS[secret]
    return Caller(kind, SCHEMA, WORKSPACE, owner, "key")


async def reason_of(call: Awaitable[object]) -> str:
    """Why a call was refused; empty when it was not."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason_name
    return ""


async def test_an_app_key_by_itself_reads_signs_and_deletes_no_media(storehouse: Storehouse, tmp_path: Path) -> None:
    media = await storehouse.ready()
    write_new_key(tmp_path / "key")
    verifier = TokenVerifier(load_key(tmp_path / "key"), SCHEMA)
    settings = StorageSettings(port=0, shutdown_grace_seconds=1)
    async with (
        open_fetcher(settings) as fetcher,
        open_server(settings, verifier, authenticate=authenticate, servicers=registrations(storehouse.depot, fetcher)) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub: StorageServiceAsyncStub = StorageServiceStub(channel)

        async def answers(secret: str) -> list[str]:
            metadata = (("x-api-key", secret),)
            return [
                await reason_of(stub.GetMedia(messages.GetMediaRequest(media_id=media.id), metadata=metadata, timeout=60)),
                await reason_of(stub.SignMediaUrl(messages.SignMediaUrlRequest(media_id=media.id), metadata=metadata, timeout=60)),
                await reason_of(stub.CommitUpload(messages.CommitUploadRequest(media_id=media.id), metadata=metadata, timeout=60)),
                await reason_of(stub.DeleteMedia(messages.DeleteMediaRequest(media_id=media.id), metadata=metadata, timeout=60)),
            ]

        assert await answers("sk_live_app") == ["ACCESS_DENIED"] * 4
        assert await answers("sk_live_workspace") == [""] * 4
