"""DatasetsService as callers meet it: who they are, and the way from a dataset to its labels."""

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from services.mesh.identity import Caller, CallerKind, TokenVerifier, load_key, write_new_key
from services.mesh.server import open_server
from services.mesh.status import from_rpc_error
from services.storage.app import SCHEMA, open_fetcher, registrations
from services.storage.settings import StorageSettings
from steno.storage.v1 import datasets_service_pb2 as messages
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceStub
from tests.storage.conftest import WORKSPACE, Storehouse
from tests.storage.labelled import CLICK, HUM, SOUND

if TYPE_CHECKING:
    from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="session")

CALLERS = {
    "ada": Caller(CallerKind.USER, SCHEMA, WORKSPACE, "user:ada"),
    "key": Caller(CallerKind.KEY, SCHEMA, WORKSPACE, "workspace"),
    "guest": Caller(CallerKind.GUEST, SCHEMA, WORKSPACE, "guest:1"),
    "payer": Caller(CallerKind.GUEST, SCHEMA, WORKSPACE, "guest:2", wallet_id="wallet"),
    "service": Caller(CallerKind.SERVICE, "inference", WORKSPACE, "user:ada"),
    "nobody": Caller(CallerKind.SERVICE, "inference"),
}


async def authenticate(secret: str) -> Caller:
    """Whom a key stands for."""
    return CALLERS[secret]


@pytest_asyncio.fixture(loop_scope="session")
async def stub(disk_storehouse: Storehouse, tmp_path: Path) -> AsyncIterator["DatasetsServiceAsyncStub"]:
    """The service behind its gate."""
    write_new_key(tmp_path / "key")
    settings = StorageSettings(port=0, shutdown_grace_seconds=1)
    async with (
        open_fetcher(settings) as fetcher,
        open_server(
            settings,
            TokenVerifier(load_key(tmp_path / "key"), SCHEMA),
            authenticate=authenticate,
            servicers=registrations(disk_storehouse.depot, fetcher),
        ) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield DatasetsServiceStub(channel)


async def reason_of(call: Awaitable[object]) -> str:
    """Why a call was refused; empty when it was not."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason_name
    return ""


def as_(name: str) -> dict[str, Any]:
    """The call's arguments for a caller."""
    return {"metadata": (("x-api-key", name),), "timeout": 60}


async def test_datasets_are_the_callers_and_no_anonymous_guests(stub: "DatasetsServiceAsyncStub") -> None:
    made = (await stub.CreateDataset(messages.CreateDatasetRequest(name="mine"), **as_("ada"))).dataset
    reasons = [await reason_of(stub.GetDataset(messages.GetDatasetRequest(dataset_id=made.id), **as_(name))) for name in CALLERS]
    refused = ["ACCESS_DENIED", "DATASET_NOT_FOUND"]
    assert dict(zip(CALLERS, reasons, strict=True)) == {
        "ada": "",
        "key": refused[1],
        "guest": refused[0],
        "payer": refused[1],
        "service": "",
        "nobody": refused[0],
    }
    listed = await stub.ListDatasets(messages.ListDatasetsRequest(), **as_("key"))
    assert (list(listed.datasets), listed.total_size) == ([], 0)


async def test_the_service_tells_everything_from_a_dataset_to_its_labels(
    disk_storehouse: Storehouse, stub: "DatasetsServiceAsyncStub"
) -> None:
    ada = as_("ada")
    create = messages.CreateDatasetRequest(name="calls", artifact_types=[{"name": CLICK}, {"name": HUM, "color": "#0000FF"}])  # type: ignore[list-item]
    made = (await stub.CreateDataset(create, **ada)).dataset
    begin = messages.BeginAudioRequest(dataset_id=made.id, filename="a.flac", content_type="audio/flac", size_bytes=len(SOUND))
    begun = await stub.BeginAudio(begin, **ada)
    assert begun.audio.state == begun.audio.STATE_PENDING
    form = {"data": dict(begun.upload_form.fields), "files": {"file": ("a.flac", SOUND)}}
    assert (await disk_storehouse.http.post(begun.upload_form.url, **form)).status_code == 204  # type: ignore[arg-type]
    audio = (await stub.ConfirmAudio(messages.ConfirmAudioRequest(dataset_id=made.id, audio_id=begun.audio.id), **ada)).audio
    assert (audio.state, audio.size_bytes) == (audio.STATE_NORMALIZING, len(SOUND))
    draft_ = (await stub.CreateAnnotationSet(messages.CreateAnnotationSetRequest(dataset_id=made.id), **ada)).annotation_set
    adding = messages.CreateAnnotationsRequest(dataset_id=made.id, annotation_set_id=draft_.id)
    adding.annotations.add(audio_file_id=audio.id, artifact_type=HUM, start_offset_ms=3, end_offset_ms=30, confidence=0.5)
    adding.annotations[0].extra_data.update({"by": "ear", "of": [1, 2]})
    [added] = (await stub.CreateAnnotations(adding, **ada)).annotations
    chosen = messages.ListAnnotationsRequest(dataset_id=made.id, annotation_set_id=draft_.id)
    assert [row async for batch in stub.ListAnnotations(chosen, **ada) for row in batch.annotations] == [added]
    assert dict(added.extra_data) == {"by": "ear", "of": added.extra_data["of"]}
    publish = messages.PublishAnnotationSetRequest(dataset_id=made.id, annotation_set_id=draft_.id)
    published = (await stub.PublishAnnotationSet(publish, **ada)).annotation_set
    assert (published.version, published.total_positive_duration_ms, dict(published.annotations_by_type)) == (1, 27, {HUM: 1})
    assert await reason_of(stub.PublishAnnotationSet(publish, **ada)) == "ANNOTATION_SET_PUBLISHED"
    described = await stub.DescribeTrainingSet(
        messages.DescribeTrainingSetRequest(dataset_id=made.id, annotation_set_id=draft_.id), **as_("service")
    )
    assert (described.annotation_set, described.file_count, described.ready_file_count) == (published, 1, 0)
    training_files = messages.ListTrainingFilesRequest(dataset_id=made.id, annotation_set_id=draft_.id)
    assert [row async for row in stub.ListTrainingFiles(training_files, **as_("service"))] == []
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        _ = [row async for row in stub.ListTrainingFiles(training_files, **ada)]
    assert from_rpc_error(denied.value).reason_name == "ACCESS_DENIED"
