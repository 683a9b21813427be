"""The whole service: its process, its gRPC and data-plane ports, its events on the bus."""

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import httpx2
import pytest

from services.mesh.bus import open_bus
from services.mesh.channel import check_health, open_channel
from services.mesh.deliveries import Delivery
from services.mesh.identity import Caller, CallerKind, TokenSigner, calling_as, load_key, write_new_key
from services.mesh.ids import new_id
from services.mesh.status import RemoteError
from services.mesh.streams import event_subject
from steno.storage.v1 import datasets_service_pb2 as datasets
from steno.storage.v1 import storage_service_pb2 as messages
from steno.storage.v1.dataset_pb2 import DatasetAudio
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceStub
from steno.storage.v1.storage_events_pb2 import MediaReady
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceStub
from tests.mesh.egress_world import PUBLIC, open_world, page
from tests.servers import free_port, nats_server
from tests.storage.conftest import SAMPLE, STRANGER, WORKSPACE
from tests.storage.torn import until

if TYPE_CHECKING:
    from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceAsyncStub
    from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]


@dataclass
class Service:
    """A running storage process."""

    port: int
    nats_url: str
    key_file: Path
    process: asyncio.subprocess.Process


@asynccontextmanager
async def run_service(directory: Path) -> AsyncIterator[Service]:
    """storage in a process of its own, with a nats-server."""
    key_file, signing_key_file = directory / "identity.pem", directory / "signing.key"
    write_new_key(key_file)
    signing_key_file.write_text(secrets.token_hex(32))
    port = free_port()
    async with nats_server(directory / "nats") as nats:
        environment = {
            "STENO_STORAGE_PORT": str(port),
            "STENO_STORAGE_DATABASE_URL": f"sqlite+aiosqlite:///{directory}/storage.db",
            "STENO_STORAGE_NATS_URL": nats.url,
            "STENO_STORAGE_IDENTITY_KEY_FILE": str(key_file),
            "STENO_STORAGE_SIGNING_KEY_FILE": str(signing_key_file),
            "STENO_STORAGE_BLOB_DIRECTORY": str(directory / "blobs"),
            "STENO_STORAGE_DATA_PORT": "0",
            "STENO_STORAGE_EGRESS_ALLOWED_NETWORKS": f"{PUBLIC}/32",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'protos'}",
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.storage", env={**os.environ, **environment}, cwd=ROOT, stderr=asyncio.subprocess.DEVNULL
        )
        try:
            yield Service(port, nats.url, key_file, process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def caller(workspace_id: str, kind: CallerKind = CallerKind.SERVICE) -> Caller:
    """A service acting for a workspace, or a key of it."""
    return Caller(kind, "gateway", workspace_id, "workspace")


async def test_service_takes_media_announces_it_and_stops_cleanly(tmp_path: Path) -> None:
    async with run_service(tmp_path) as service:
        signer = TokenSigner(load_key(service.key_file), "gateway")
        async with open_channel(f"127.0.0.1:{service.port}", audience="storage", signer=signer) as channel:
            await until(lambda: serving(channel), 30)
            stub = StorageServiceStub(channel)
            with calling_as(caller(WORKSPACE)):
                media = await take_media(stub, service.nats_url)
                await refuse_strangers(stub, media)
                await delete_and_miss(stub, media, tmp_path)
                await fetch_slowly(stub)
        service.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await service.process.wait() == 0


async def serving(channel: grpc.aio.Channel) -> bool:
    """Whether the service is up and well."""
    try:
        return await check_health(channel)
    except RemoteError:
        return False


async def take_media(stub: "StorageServiceAsyncStub", nats_url: str) -> str:
    """Upload, commit and read media; its event arrives. Answers its id."""
    announced: asyncio.Queue[MediaReady] = asyncio.Queue()

    async def heard(delivery: Delivery) -> None:
        await announced.put(delivery.parse(MediaReady))

    async with (
        open_bus(nats_url, name="test") as bus,
        bus.watch(event_subject("storage", MediaReady), heard),
        httpx2.AsyncClient(trust_env=False) as http,
    ):
        begun = await stub.BeginUpload(messages.BeginUploadRequest(filename="../x/hello.flac"))
        assert (await http.put(begun.upload_url.url, content=SAMPLE.read_bytes())).status_code == 201
        committed = (await stub.CommitUpload(messages.CommitUploadRequest(media_id=begun.media.id))).media
        assert (committed.filename, committed.probe.codec, committed.workspace_id) == ("hello.flac", "flac", WORKSPACE)
        assert (await stub.GetMedia(messages.GetMediaRequest(media_id=committed.id))).media == committed
        address = (await stub.SignMediaUrl(messages.SignMediaUrlRequest(media_id=committed.id))).download_url
        assert (await http.get(address.url)).content == SAMPLE.read_bytes()
        async with asyncio.timeout(60):
            event = await announced.get()
        assert (event.media_id, event.duration_ms) == (committed.id, committed.probe.duration_ms)
    return committed.id


async def fetch_slowly(stub: "StorageServiceAsyncStub") -> None:
    """A fetch may take longer than other calls; refusals carry their reasons, and keys may not ask for one."""

    async def slow(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(6)
        await page(SAMPLE.read_bytes())(head, writer)

    async with open_world() as world:
        world.pages["/talk.flac"] = slow
        base = f"http://{PUBLIC}:{world.port}"
        request = messages.FetchMediaRequest(media_id=new_id(), url=f"{base}/talk.flac")
        media = (await stub.FetchMedia(request, timeout=60)).media
        assert (media.id, media.filename, media.probe.codec) == (request.media_id, "talk.flac", "flac")
        assert (await stub.FetchMedia(request, timeout=60)).media == media
        for url, reason in {f"{base}/none": "FETCH_FAILED", "http://10.0.0.1/": "INVALID_URL", "ftp://a.example/": "INVALID_URL"}.items():
            with pytest.raises(RemoteError) as refused:
                await stub.FetchMedia(messages.FetchMediaRequest(media_id=new_id(), url=url), timeout=60)
            assert refused.value.reason_name == reason
        with calling_as(caller(WORKSPACE, CallerKind.KEY)), pytest.raises(RemoteError) as denied:
            await stub.FetchMedia(request)
        assert denied.value.reason_name == "ACCESS_DENIED"
        assert world.canary_visits == []


async def refuse_strangers(stub: "StorageServiceAsyncStub", media_id: str) -> None:
    """Another workspace sees no media; a key may not touch artefacts."""
    with calling_as(caller(STRANGER)), pytest.raises(RemoteError) as unknown:
        await stub.GetMedia(messages.GetMediaRequest(media_id=media_id))
    assert (unknown.value.code, unknown.value.reason_name) == (grpc.StatusCode.NOT_FOUND, "MEDIA_NOT_FOUND")
    with calling_as(caller(WORKSPACE, CallerKind.KEY)), pytest.raises(RemoteError) as denied:
        await stub.BeginArtefact(messages.BeginArtefactRequest(media_type="text/plain"))
    assert denied.value.reason_name == "ACCESS_DENIED"
    everything = messages.ListMediaRequest()
    everything.create_time_before.FromDatetime(datetime.now(UTC) + timedelta(minutes=1))
    with calling_as(caller(WORKSPACE, CallerKind.KEY)), pytest.raises(RemoteError) as denied:
        await stub.ListMedia(everything)
    assert denied.value.reason_name == "ACCESS_DENIED"
    with calling_as(caller("")):
        assert [media.id for media in (await stub.ListMedia(everything)).media] == [media_id]
        with pytest.raises(RemoteError) as endless:
            await stub.ListMedia(messages.ListMediaRequest())
    assert endless.value.reason_name == "INVALID_FIELD"


async def delete_and_miss(stub: "StorageServiceAsyncStub", media_id: str, directory: Path) -> None:
    """Deleted media is not found, and its bytes go by themselves."""
    await stub.DeleteMedia(messages.DeleteMediaRequest(media_id=media_id))
    await stub.DeleteMedia(messages.DeleteMediaRequest(media_id=media_id))
    with pytest.raises(RemoteError):
        await stub.GetMedia(messages.GetMediaRequest(media_id=media_id))

    async def gone() -> bool:
        return not [path for path in (directory / "blobs" / "objects").rglob("*") if path.is_file()]

    await until(gone, 10)


async def test_service_prepares_audio_of_datasets_by_itself(tmp_path: Path) -> None:
    async with run_service(tmp_path) as service:
        signer = TokenSigner(load_key(service.key_file), "gateway")
        async with open_channel(f"127.0.0.1:{service.port}", audience="storage", signer=signer) as channel:
            await until(lambda: serving(channel), 30)
            stub = DatasetsServiceStub(channel)
            with calling_as(caller(WORKSPACE)):
                audio = await confirmed(stub)

                async def ready() -> bool:
                    asked = datasets.GetAudioRequest(dataset_id=audio.dataset_id, audio_id=audio.id)
                    return (await stub.GetAudio(asked)).audio.state == audio.STATE_READY

                await until(ready, 60)
        service.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await service.process.wait() == 0


async def confirmed(stub: "DatasetsServiceAsyncStub") -> DatasetAudio:
    """The sample in a new dataset, uploaded by its form."""
    made = (await stub.CreateDataset(datasets.CreateDatasetRequest(name="calls"))).dataset
    content = SAMPLE.read_bytes()
    announced = datasets.BeginAudioRequest(dataset_id=made.id, filename="a.flac", content_type="audio/flac", size_bytes=len(content))
    begun = await stub.BeginAudio(announced)
    async with httpx2.AsyncClient(trust_env=False) as http:
        form = begun.upload_form
        assert (await http.post(form.url, data=dict(form.fields), files={"file": ("a.flac", content)})).status_code == 204
    audio = (await stub.ConfirmAudio(datasets.ConfirmAudioRequest(dataset_id=made.id, audio_id=begun.audio.id))).audio
    assert audio.state == audio.STATE_NORMALIZING
    return audio
