"""What the listener takes, what it refuses, and what is left when a client breaks off."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faults.corpora.http.bodies import MALFORMED_CHUNKS
from faults.corpora.http.heads import MALFORMED
from services.mesh.errors import NotFound
from services.storage.data_plane.app import make_data_plane
from services.storage.data_plane.server import listen, open_data_plane
from services.storage.domain import Kind
from services.storage.signing import Grant
from services.storage.usecases import deletion, reading, uploads
from tests.storage.conftest import MEBIBYTE, SAMPLE, WORKSPACE, Storehouse
from tests.storage.torn import put_and_vanish, put_head, raw_exchange, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def chunks(content: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    """The content without its length."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


def stored_files(root: Path) -> list[Path]:
    """Everything that lies under the directory of the blobs."""
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("percent", [0, 50, 99])
async def test_put_that_breaks_off_leaves_nothing(storehouse: Storehouse, tmp_path: Path, percent: int) -> None:
    size = 12 * MEBIBYTE
    media, url = await storehouse.begin()
    await put_and_vanish(storehouse.port, url, size, size * percent // 100)
    await until(lambda: idle(storehouse))
    assert stored_files(tmp_path / "blobs") == []
    assert await storehouse.blob_keys() == set()
    with pytest.raises(NotFound):
        await reading.sign_media_url(storehouse.depot, WORKSPACE, media.id, None)


async def idle(house: Storehouse) -> bool:
    """Whether no transfer is in hand: the only tasks named so are uvicorn's requests."""
    return not any("run_asgi" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_torn_multipart_upload_is_aborted(storehouse: Storehouse, request: pytest.FixtureRequest) -> None:
    _, url = await storehouse.begin()
    await put_and_vanish(storehouse.port, url, 30 * MEBIBYTE, 25 * MEBIBYTE)
    await until(lambda: idle(storehouse))
    if storehouse.depot.blobs.store != "disk":
        assert request.getfixturevalue("bucket").unfinished_uploads() == 0
    assert await storehouse.blob_keys() == set()


async def test_forged_expired_or_foreign_signature_is_refused_alike(disk_storehouse: Storehouse) -> None:
    media = await disk_storehouse.ready()
    signer, later = disk_storehouse.depot.signer, datetime.now(UTC) + timedelta(minutes=1)
    good = signer.sign(Grant("GET", Kind.MEDIA, media.id, later))
    past = signer.sign(Grant("GET", Kind.MEDIA, media.id, datetime.now(UTC) - timedelta(seconds=1)))
    other = await disk_storehouse.ready()
    last = "A" if good[-1] != "A" else "B"
    bad = [
        good[:-1] + last,
        past,
        good.replace("expires=", "expires=1"),
        good.replace(media.id, other.id),
        good.replace("/media/", "/artefacts/"),
        good + "&x=1",
        good.split("&signature")[0],
        good.split("?")[0],
        good.replace("max_bytes=0", "max_bytes=00"),
        signer.sign(Grant("PUT", Kind.MEDIA, media.id, later, 10)),
    ]
    answers = [await disk_storehouse.http.get(url) for url in bad]
    answers.append(await disk_storehouse.http.put(good, content=b"x"))
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["code"] == "INVALID_SIGNATURE"
    assert (await disk_storehouse.http.get(good)).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/media/..%2f..%2fetc", "/media/%00", "/media/", "/media/a/b", "/media/A192F0C1-0000-7000-8000-000000000001"]
)
async def test_path_that_names_no_object_is_not_found(disk_storehouse: Storehouse, path: str) -> None:
    answer = await raw_exchange(disk_storehouse.port, f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_other_methods_are_not_allowed(disk_storehouse: Storehouse) -> None:
    _, url = await disk_storehouse.begin()
    answer = await disk_storehouse.http.delete(url)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, PUT")


async def test_announced_excess_is_refused_before_the_body(disk_storehouse: Storehouse) -> None:
    _, url = await disk_storehouse.begin(limit=1000)
    answer = await raw_exchange(disk_storehouse.port, put_head(url, 1001))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"MEDIA_TOO_LARGE"' in answer
    assert b'"max_size_bytes": "1000"' in answer


async def test_excess_in_chunks_is_refused_and_nothing_is_kept(storehouse: Storehouse, tmp_path: Path) -> None:
    media, url = await storehouse.begin(limit=200_000)
    answer = await storehouse.http.put(url, content=chunks(bytes(200_001)))
    assert (answer.status_code, answer.json()["code"]) == (413, "MEDIA_TOO_LARGE")
    assert stored_files(tmp_path / "blobs") == []
    assert await storehouse.blob_keys() == set()
    assert (await storehouse.http.put(url, content=chunks(bytes(200_000)))).status_code == 201
    assert (await reading.get_media(storehouse.depot, WORKSPACE, media.id)).size_bytes == 200_000


async def test_silent_upload_is_ended(disk_storehouse: Storehouse, tmp_path: Path) -> None:
    _, url = await disk_storehouse.begin()
    answer = await raw_exchange(disk_storehouse.port, put_head(url, 10) + b"abc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert stored_files(tmp_path / "blobs") == []


@pytest.mark.parametrize("head", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_head_is_refused_and_closed(disk_storehouse: Storehouse, head: bytes) -> None:
    answer = await raw_exchange(disk_storehouse.port, head)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "BAD_REQUEST"' in answer
    assert b"connection: close" in answer


@pytest.mark.parametrize("chunks", MALFORMED_CHUNKS.values(), ids=MALFORMED_CHUNKS.keys())
async def test_malformed_chunks_are_refused_and_leave_nothing(disk_storehouse: Storehouse, tmp_path: Path, chunks: bytes) -> None:
    _, url = await disk_storehouse.begin()
    head = put_head(url, 0).replace(b"content-length: 0", b"transfer-encoding: chunked")
    assert (await raw_exchange(disk_storehouse.port, head + chunks)).startswith(b"HTTP/1.1 400 ")
    assert stored_files(tmp_path / "blobs") == []


async def test_body_of_a_read_does_not_keep_the_connection(disk_storehouse: Storehouse) -> None:
    """Its client may send it for ever."""
    reader, writer = await asyncio.open_connection("127.0.0.1", disk_storehouse.port)
    writer.write(b"GET /media/a HTTP/1.1\r\nhost: a\r\ncontent-length: 10000000000\r\n\r\n")
    async with asyncio.timeout(60):
        assert (await reader.read()).startswith(b"HTTP/1.1 404 ")
    writer.close()


async def test_upload_to_a_forgotten_announcement_is_not_found(storehouse: Storehouse) -> None:
    media, url = await storehouse.begin()
    await deletion.delete_media(storehouse.depot, WORKSPACE, media.id)
    assert (await storehouse.http.put(url, content=b"x")).status_code == 404
    assert await storehouse.blob_keys() == set()


async def test_upload_overtaken_by_deletion_leaves_no_bytes(storehouse: Storehouse) -> None:
    media, url = await storehouse.begin()

    async def deleted_meanwhile() -> AsyncIterator[bytes]:
        yield bytes(300_000)
        await deletion.delete_media(storehouse.depot, WORKSPACE, media.id)
        yield bytes(300_000)

    assert (await storehouse.http.put(url, content=deleted_meanwhile())).status_code == 404
    assert await storehouse.blob_keys() == set()


async def test_download_is_safe_to_open_in_a_browser(disk_storehouse: Storehouse) -> None:
    media, url = await disk_storehouse.begin('../a"b\r\n\u202e€.mp3')
    await disk_storehouse.http.put(url, content=SAMPLE.read_bytes())
    await uploads.commit_upload(disk_storehouse.depot, WORKSPACE, media.id, 0)
    address = await reading.sign_media_url(disk_storehouse.depot, WORKSPACE, media.id, None)
    headers = (await disk_storehouse.http.get(address.url)).headers
    assert headers["content-disposition"] == "attachment; filename=\"a_b_.mp3\"; filename*=UTF-8''a%22b%E2%82%AC.mp3"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] == "audio/flac"


async def test_head_and_conditions_answer_without_a_body(disk_storehouse: Storehouse) -> None:
    media = await disk_storehouse.ready()
    address = await reading.sign_media_url(disk_storehouse.depot, WORKSPACE, media.id, None)
    http, etag = disk_storehouse.http, f'"{media.sha256}"'
    head = await http.head(address.url)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(media.size_bytes), b"")
    assert (await http.get(address.url, headers={"if-none-match": etag})).status_code == 304
    stale = await http.get(address.url, headers={"range": "bytes=0-4", "if-range": '"other"'})
    fresh = await http.get(address.url, headers={"range": "bytes=0-4", "if-range": etag})
    assert (stale.status_code, fresh.status_code, len(fresh.content)) == (200, 206, 5)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=999999999-", 416),
        ("bytes=-0", 416),
        ("bytes=5-2", 200),
        ("bytes=abc", 200),
        ("bytes=" + ",".join(["0-0"] * 2000), 200),
        ("seconds=0-1", 200),
        ("bytes=-", 200),
        ("bytes=" + "9" * 40 + "-", 200),
        ("bytes=٣-", 200),
    ],
)
async def test_odd_ranges_answer_everything_or_nothing(disk_storehouse: Storehouse, asked: str, status: int) -> None:
    media = await disk_storehouse.ready()
    address = await reading.sign_media_url(disk_storehouse.depot, WORKSPACE, media.id, None)
    answer = await disk_storehouse.http.get(address.url, headers={b"range": asked.encode()})
    assert answer.status_code == status
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{media.size_bytes}"
    else:
        assert hashlib.sha256(answer.content).hexdigest() == media.sha256


async def test_transfers_beyond_the_limit_are_told_to_retry(disk_storehouse: Storehouse) -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with open_data_plane(make_data_plane(disk_storehouse.depot, 1), listener, 1.0):
            _, url = await disk_storehouse.begin()
            url = url.replace(f":{disk_storehouse.port}/", f":{port}/")
            second_answer = asyncio.Event()

            async def slow() -> AsyncIterator[bytes]:
                yield b"a"
                await second_answer.wait()

            async with asyncio.TaskGroup() as tasks:
                first = tasks.create_task(disk_storehouse.http.put(url, content=slow()))
                await until(lambda: busy(disk_storehouse))
                second = await disk_storehouse.http.put(url, content=b"b")
                second_answer.set()
            assert (second.status_code, second.json()["code"]) == (503, "OVERLOADED")
            assert second.headers["retry-after"] == "2"
            assert first.result().status_code == 201


async def busy(house: Storehouse) -> bool:
    """Whether a transfer is in hand."""
    return not await idle(house)
