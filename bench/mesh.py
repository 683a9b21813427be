"""The mesh under measurement: `steno up` in a folder of its own, and its services as the gateway calls them."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import transfer
from services.mesh.channel import Channel, open_channel
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as, load_key
from services.stack.layout import SERVICES
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceAsyncStub, JobsServiceStub
from steno.storage.v1.storage_service_pb2 import (
    BeginUploadRequest,
    CommitUploadRequest,
    DeleteMediaRequest,
    SignMediaUrlRequest,
)
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub, StorageServiceStub
from tests.e2e.mesh import Mesh

_CALL_SECONDS = 60.0


@dataclass(frozen=True)
class Inside:
    """The services behind the gateway."""

    jobs: JobsServiceAsyncStub
    storage: StorageServiceAsyncStub

    async def put(self, path: Path) -> tuple[str, float]:
        """Upload a file to the data plane; its media's id and the seconds that the PUT took."""
        begun = await self.storage.BeginUpload(BeginUploadRequest(filename=path.name))
        return begun.media.id, transfer.put(begun.upload_url.url, path).seconds

    async def stored(self, path: Path) -> str:
        """Upload and commit a file; its media's id."""
        media_id, _ = await self.put(path)
        await self.storage.CommitUpload(CommitUploadRequest(media_id=media_id), timeout=_CALL_SECONDS)
        return media_id

    async def download_url(self, media_id: str) -> str:
        """Where to read media."""
        return str((await self.storage.SignMediaUrl(SignMediaUrlRequest(media_id=media_id))).download_url.url)

    async def forget(self, media_id: str) -> None:
        """Delete media."""
        await self.storage.DeleteMedia(DeleteMediaRequest(media_id=media_id))


@asynccontextmanager
async def open_inside(mesh: Mesh) -> AsyncIterator[Inside]:
    """Stubs that act for the mesh's first workspace until left."""
    signer = TokenSigner(load_key(mesh.data / "keys" / "identity.pem"), "gateway")

    def channel(service: str) -> AbstractAsyncContextManager[Channel]:
        address = mesh.ready["grpc"][service]
        return open_channel(address, audience=service, signer=signer, timeout_seconds=_CALL_SECONDS)

    async with AsyncExitStack() as stack:
        jobs = JobsServiceStub(await stack.enter_async_context(channel("jobs")))
        storage = StorageServiceStub(await stack.enter_async_context(channel("storage")))
        with calling_as(Caller(CallerKind.KEY, "gateway", mesh.ready["workspace_id"], "workspace", "bench")):
            yield Inside(jobs, storage)


def pids(mesh: Mesh) -> dict[str, int]:
    """The process of each service and of the bus."""
    found = {name: mesh.child_pid(name) for name in (*SERVICES, "nats")}
    return {name: pid for name, pid in found.items() if pid is not None}


@contextmanager
def paused(pid: int) -> Iterator[None]:
    """A process that does nothing until left."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
