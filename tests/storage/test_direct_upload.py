"""Uploads by clients of their own: somebody who holds nothing but the signed URL."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from services.mesh.errors import InvalidField
from services.storage.domain import Kind, MediaNotFound, State
from services.storage.signing import Grant
from services.storage.usecases import deletion, reading, uploads
from tests.storage.conftest import SAMPLE, STRANGER, WORKSPACE, Storehouse
from tests.storage.torn import put_head

pytestmark = pytest.mark.asyncio(loop_scope="session")
SOUND = SAMPLE.read_bytes()


async def code(house: Storehouse, method: str, url: str, content: bytes = SOUND, headers: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and code of the answer."""
    response = await house.http.request(method, url, content=content, headers=headers)
    return response.status_code, response.json().get("code", "") if response.content else ""


async def test_the_limit_is_part_of_the_signature(disk_storehouse: Storehouse) -> None:
    _, url = await disk_storehouse.begin(limit=len(SOUND) - 1)
    assert await code(disk_storehouse, "PUT", url) == (413, "MEDIA_TOO_LARGE")
    raised = url.replace(f"max_bytes={len(SOUND) - 1}", f"max_bytes={len(SOUND)}")
    assert raised != url
    assert await code(disk_storehouse, "PUT", raised) == (403, "INVALID_SIGNATURE")
    assert await disk_storehouse.blob_keys() == set()


async def test_an_expired_or_moved_permission_is_refused(disk_storehouse: Storehouse) -> None:
    media, url = await disk_storehouse.begin()
    other, _ = await disk_storehouse.begin()
    signer = disk_storehouse.depot.signer
    past = signer.sign(Grant("PUT", Kind.MEDIA, media.id, datetime.now(UTC) - timedelta(seconds=1), 1 << 20))
    later = url.replace("expires=", "expires=9")
    for bad in (past, later, url.replace(media.id, other.id), url.replace("/media/", "/artefacts/"), url + "&x=1", url[:-1] + "_"):
        if bad != url:
            assert await code(disk_storehouse, "PUT", bad) == (403, "INVALID_SIGNATURE")
    assert await disk_storehouse.blob_keys() == set()


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 403), ("HEAD", 403), ("POST", 405), ("DELETE", 405), ("PATCH", 405), ("OPTIONS", 405)]
)
async def test_the_permission_is_to_put_and_nothing_else(disk_storehouse: Storehouse, method: str, status: int) -> None:
    media = await disk_storehouse.put(SOUND)
    grant = await uploads.sign_upload(disk_storehouse.depot, WORKSPACE, media.id, 0)
    assert (await code(disk_storehouse, method, disk_storehouse.depot.signer.sign(grant), b""))[0] == status


@pytest.mark.parametrize("header", ["content-encoding", "content-range"])
async def test_parts_and_encoded_bodies_are_refused(disk_storehouse: Storehouse, header: str) -> None:
    _, url = await disk_storehouse.begin()
    value = "gzip" if header == "content-encoding" else f"bytes 0-{len(SOUND) - 1}/{len(SOUND)}"
    assert await code(disk_storehouse, "PUT", url, headers={header: value}) == (400, "INVALID_FIELD")
    assert await disk_storehouse.blob_keys() == set()


async def test_a_body_shorter_than_announced_is_no_upload(disk_storehouse: Storehouse) -> None:
    media, url = await disk_storehouse.begin()
    reader, writer = await asyncio.open_connection("127.0.0.1", disk_storehouse.port)
    writer.write(put_head(url, len(SOUND)) + SOUND[:-1])
    writer.write_eof()
    async with asyncio.timeout(60):
        assert b" 201 " not in await reader.read()
    writer.close()
    with pytest.raises(MediaNotFound):
        await reading.sign_media_url(disk_storehouse.depot, WORKSPACE, media.id, None)
    assert await disk_storehouse.blob_keys() == set()
    assert (await disk_storehouse.http.put(url, content=SOUND)).status_code == 201


async def test_until_the_commit_the_last_whole_upload_counts_and_after_it_none(storehouse: Storehouse) -> None:
    media, url = await storehouse.begin()
    for content in (b"first", SOUND):
        assert (await storehouse.http.put(url, content=content)).status_code == 201
    ready = await uploads.commit_upload(storehouse.depot, WORKSPACE, media.id, 0)
    assert await code(storehouse, "PUT", url, b"late") == (404, "MEDIA_NOT_FOUND")
    assert ready.sha256 == hashlib.sha256(SOUND).hexdigest()
    assert (await reading.get_media(storehouse.depot, WORKSPACE, media.id)).sha256 == ready.sha256
    assert len(await storehouse.blob_keys()) == 1


async def test_uploads_that_race_a_commit_never_change_what_was_probed(disk_storehouse: Storehouse) -> None:
    media, url = await disk_storehouse.begin()
    await disk_storehouse.http.put(url, content=SOUND)
    puts = [disk_storehouse.http.put(url, content=SOUND + bytes([number])) for number in range(6)]
    await asyncio.gather(*puts, uploads.commit_upload(disk_storehouse.depot, WORKSPACE, media.id, 0), return_exceptions=True)
    ready = await uploads.commit_upload(disk_storehouse.depot, WORKSPACE, media.id, 0)
    address = await reading.sign_media_url(disk_storehouse.depot, WORKSPACE, media.id, None)
    content = (await disk_storehouse.http.get(address.url)).content
    assert (ready.state, hashlib.sha256(content).hexdigest()) == (State.READY, ready.sha256)
    assert len(await disk_storehouse.blob_keys()) == 1


async def test_a_fresh_url_takes_the_bytes_within_its_own_limit(disk_storehouse: Storehouse) -> None:
    media, _ = await disk_storehouse.begin()
    narrow = await uploads.sign_upload(disk_storehouse.depot, WORKSPACE, media.id, 10)
    assert await code(disk_storehouse, "PUT", disk_storehouse.depot.signer.sign(narrow)) == (413, "MEDIA_TOO_LARGE")
    grant = await uploads.sign_upload(disk_storehouse.depot, WORKSPACE, media.id, 0)
    assert grant.max_size_bytes == disk_storehouse.depot.limits.max_media_bytes
    assert (await disk_storehouse.http.put(disk_storehouse.depot.signer.sign(grant), content=SOUND)).status_code == 201
    await uploads.commit_upload(disk_storehouse.depot, WORKSPACE, media.id, 0)
    with pytest.raises(MediaNotFound):
        await uploads.sign_upload(disk_storehouse.depot, WORKSPACE, media.id, 0)


async def test_no_fresh_url_for_strangers_and_the_deleted(disk_storehouse: Storehouse) -> None:
    media, _ = await disk_storehouse.begin()
    with pytest.raises(MediaNotFound):
        await uploads.sign_upload(disk_storehouse.depot, STRANGER, media.id, 0)
    with pytest.raises(InvalidField):
        await uploads.sign_upload(disk_storehouse.depot, WORKSPACE, media.id, -1)
    await deletion.delete_media(disk_storehouse.depot, WORKSPACE, media.id)
    with pytest.raises(MediaNotFound):
        await uploads.sign_upload(disk_storehouse.depot, WORKSPACE, media.id, 0)
