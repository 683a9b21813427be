"""Bytes in, facts found, bytes out, bytes gone."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from services.mesh.errors import InvalidArgument, MeshError
from services.storage.domain import (
    ArtefactNotFound,
    BrokenMedia,
    EmptyMedia,
    MediaNotFound,
    MediaTooLong,
    State,
    UnsupportedMedia,
    UploadIncomplete,
)
from services.storage.store.tables import OUTBOX, Media
from services.storage.usecases import deletion, reading, uploads
from steno.storage.v1.storage_events_pb2 import MediaDeleted, MediaReady
from tests.storage.conftest import SAMPLE, STRANGER, WORKSPACE, Storehouse

pytestmark = pytest.mark.asyncio(loop_scope="session")

REFUSED: dict[str, tuple[bytes, type[InvalidArgument]]] = {
    "empty": (b"", EmptyMedia),
    "text": (b"This is not music at all.\n" * 100, UnsupportedMedia),
    "playlist": (b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", UnsupportedMedia),
    "concat": (b"ffconcat version 1.0\nfile secret.wav\n", UnsupportedMedia),
}


async def events(house: Storehouse) -> list[tuple[str, bytes]]:
    """Type and payload of the events in the outbox, in order."""
    async with house.depot.database.reading() as session:
        statement = select(OUTBOX.c.message_type, OUTBOX.c.payload).order_by(OUTBOX.c.id)
        rows = await (await session.connection()).execute(statement)
    return [(row[0], row[1]) for row in rows]


async def test_committed_media_tells_what_was_found_and_is_announced_once(storehouse: Storehouse) -> None:
    content = SAMPLE.read_bytes()
    media = await storehouse.ready()
    again = await uploads.commit_upload(storehouse.depot, WORKSPACE, media.id, 0)
    assert (media.state, media.size_bytes, media.sha256) == (State.READY, len(content), hashlib.sha256(content).hexdigest())
    assert (media.container, media.codec, media.has_video) == ("flac", "flac", False)
    assert media.duration_ms > 1000
    assert again == media
    ready = MediaReady(media_id=media.id, workspace_id=WORKSPACE, duration_ms=media.duration_ms)
    assert await events(storehouse) == [("steno.storage.v1.MediaReady", ready.SerializeToString())]
    assert "relay" in storehouse.woken


async def test_any_range_of_media_reads_as_the_same_slice_of_the_file(storehouse: Storehouse) -> None:
    content = SAMPLE.read_bytes() + bytes(600_000)
    media = await storehouse.ready(content)
    address = await reading.sign_media_url(storehouse.depot, WORKSPACE, media.id, None)
    whole = await storehouse.http.get(address.url)
    assert (whole.status_code, whole.content) == (200, content)
    assert whole.headers["content-type"] == media.media_type
    assert whole.headers["etag"] == f'"{media.sha256}"'
    for asked, part in {
        "bytes=0-0": content[:1],
        "bytes=100-299999": content[100:300_000],
        "bytes=500000-": content[500_000:],
        "bytes=-7": content[-7:],
        f"bytes=0-{10**18}": content,
    }.items():
        response = await storehouse.http.get(address.url, headers={"range": asked})
        assert (response.status_code, response.content) == (206, part), asked


async def test_deleted_media_is_refused_at_once_and_its_bytes_and_row_go(storehouse: Storehouse) -> None:
    media = await storehouse.ready()
    address = await reading.sign_media_url(storehouse.depot, WORKSPACE, media.id, None)
    await deletion.delete_media(storehouse.depot, WORKSPACE, media.id)
    await deletion.delete_media(storehouse.depot, WORKSPACE, media.id)
    response = await storehouse.http.get(address.url)
    assert (response.status_code, response.json()["code"]) == (404, "MEDIA_NOT_FOUND")
    assert await deletion.reap(storehouse.depot) == 1
    assert await storehouse.blob_keys() == set()
    assert await deletion.reap(storehouse.depot) == 0
    deleted = MediaDeleted(media_id=media.id, workspace_id=WORKSPACE)
    assert (await events(storehouse))[1:] == [("steno.storage.v1.MediaDeleted", deleted.SerializeToString())]
    assert "reaper" in storehouse.woken


async def test_artefact_is_written_read_and_deleted(storehouse: Storehouse) -> None:
    artefact, grant = await uploads.begin_artefact(storehouse.depot, WORKSPACE, "application/x-protobuf", 1000)
    with pytest.raises(UploadIncomplete):
        await uploads.commit_artefact(storehouse.depot, WORKSPACE, artefact.id)
    with pytest.raises(ArtefactNotFound):
        await reading.sign_artefact_url(storehouse.depot, WORKSPACE, artefact.id, None)
    assert (await storehouse.http.put(storehouse.depot.signer.sign(grant), content=b"words")).status_code == 201
    ready = await uploads.commit_artefact(storehouse.depot, WORKSPACE, artefact.id)
    assert ready == await uploads.commit_artefact(storehouse.depot, WORKSPACE, artefact.id)
    address = await reading.sign_artefact_url(storehouse.depot, WORKSPACE, artefact.id, timedelta(seconds=30))
    response = await storehouse.http.get(address.url)
    assert (response.content, response.headers["content-type"]) == (b"words", "application/x-protobuf")
    await deletion.delete_artefact(storehouse.depot, WORKSPACE, artefact.id)
    assert (await storehouse.http.get(address.url)).json()["code"] == "ARTEFACT_NOT_FOUND"
    await deletion.reap(storehouse.depot)
    assert await storehouse.blob_keys() == set()


async def test_empty_artefact_reads_as_empty(storehouse: Storehouse) -> None:
    artefact, grant = await uploads.begin_artefact(storehouse.depot, WORKSPACE, "text/plain", 0)
    assert (await storehouse.http.put(storehouse.depot.signer.sign(grant), content=b"")).status_code == 201
    await uploads.commit_artefact(storehouse.depot, WORKSPACE, artefact.id)
    address = await reading.sign_artefact_url(storehouse.depot, WORKSPACE, artefact.id, None)
    response = await storehouse.http.get(address.url)
    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_no_media_is_refused_and_nothing_of_it_is_kept(storehouse: Storehouse, case: str) -> None:
    content, error = REFUSED[case]
    media = await storehouse.put(content, "song.mp3")
    with pytest.raises(error):
        await uploads.commit_upload(storehouse.depot, WORKSPACE, media.id, 0)
    assert await storehouse.blob_keys() == set()
    async with storehouse.depot.database.reading() as session:
        assert (await session.exec(select(Media))).all() == []
    assert await events(storehouse) == []


async def test_truncated_head_is_refused_as_broken_or_unsupported(storehouse: Storehouse) -> None:
    media = await storehouse.put(SAMPLE.read_bytes()[:60])
    with pytest.raises((BrokenMedia, UnsupportedMedia)):
        await uploads.commit_upload(storehouse.depot, WORKSPACE, media.id, 0)
    assert await storehouse.blob_keys() == set()


async def test_more_audio_than_asked_for_is_refused(disk_storehouse: Storehouse) -> None:
    media = await disk_storehouse.put(SAMPLE.read_bytes())
    with pytest.raises(MediaTooLong) as refusal:
        await uploads.commit_upload(disk_storehouse.depot, WORKSPACE, media.id, 1)
    assert refusal.value.metadata == {"max_duration_ms": "1"}
    assert await disk_storehouse.blob_keys() == set()


async def test_two_commits_at_once_answer_the_same_and_announce_once(row_storehouse: Storehouse) -> None:
    media = await row_storehouse.put(SAMPLE.read_bytes())
    both = await asyncio.gather(*(uploads.commit_upload(row_storehouse.depot, WORKSPACE, media.id, 0) for _ in range(2)))
    assert both[0] == both[1]
    assert len(await events(row_storehouse)) == 1


async def test_commit_without_bytes_is_incomplete_and_can_be_tried_again(disk_storehouse: Storehouse) -> None:
    media, url = await disk_storehouse.begin()
    with pytest.raises(UploadIncomplete):
        await uploads.commit_upload(disk_storehouse.depot, WORKSPACE, media.id, 0)
    await disk_storehouse.http.put(url, content=SAMPLE.read_bytes())
    assert (await uploads.commit_upload(disk_storehouse.depot, WORKSPACE, media.id, 0)).state == State.READY


async def test_foreign_id_looks_like_an_unknown_one(row_storehouse: Storehouse) -> None:
    media = await row_storehouse.ready()
    unknown = "0192f0c1-0000-7000-8000-00000000ffff"
    calls: tuple[Callable[[str, str], Awaitable[object]], ...] = (
        lambda workspace, object_id: reading.get_media(row_storehouse.depot, workspace, object_id),
        lambda workspace, object_id: reading.sign_media_url(row_storehouse.depot, workspace, object_id, None),
        lambda workspace, object_id: uploads.commit_upload(row_storehouse.depot, workspace, object_id, 0),
    )
    for call in calls:
        seen = []
        for workspace, object_id in ((STRANGER, media.id), (WORKSPACE, unknown)):
            with pytest.raises(MediaNotFound) as refusal:
                await call(workspace, object_id)
            seen.append(likeness(refusal.value, object_id))
        assert seen[0] == seen[1]
    await deletion.delete_media(row_storehouse.depot, STRANGER, media.id)
    assert (await reading.get_media(row_storehouse.depot, WORKSPACE, media.id)).state == State.READY


def likeness(error: MeshError, object_id: str) -> tuple[str, str, str]:
    """An error without the id that was asked for."""
    return error.reason(), error.message, str(error.metadata).replace(object_id, "ID")


async def test_second_put_replaces_the_first_and_leaves_one_blob(storehouse: Storehouse) -> None:
    media, url = await storehouse.begin()
    for content in (b"first", SAMPLE.read_bytes()):
        assert (await storehouse.http.put(url, content=content)).status_code == 201
    ready = await uploads.commit_upload(storehouse.depot, WORKSPACE, media.id, 0)
    assert ready.size_bytes == SAMPLE.stat().st_size
    assert await storehouse.blob_keys() == {ready.object_key}


async def test_committed_media_cannot_be_overwritten(storehouse: Storehouse) -> None:
    media, url = await storehouse.begin()
    await storehouse.http.put(url, content=SAMPLE.read_bytes())
    ready = await uploads.commit_upload(storehouse.depot, WORKSPACE, media.id, 0)
    assert (await storehouse.http.put(url, content=b"other")).status_code == 404
    assert await storehouse.blob_keys() == {ready.object_key}
    assert (await reading.get_media(storehouse.depot, WORKSPACE, media.id)).sha256 == ready.sha256


async def test_signed_url_lasts_as_long_as_asked(disk_storehouse: Storehouse) -> None:
    media = await disk_storehouse.ready()
    address = await reading.sign_media_url(disk_storehouse.depot, WORKSPACE, media.id, timedelta(hours=24))
    assert timedelta(hours=23, minutes=59) < address.expire_time - datetime.now(UTC) <= timedelta(hours=24)
    for lifetime in (timedelta(0), timedelta(hours=24, seconds=1)):
        with pytest.raises(InvalidArgument):
            await reading.sign_media_url(disk_storehouse.depot, WORKSPACE, media.id, lifetime)
