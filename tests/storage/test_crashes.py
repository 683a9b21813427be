"""What is left of a crash, a full disk and a lost store, and how it is put right."""

import asyncio
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.media.sandbox import Sandbox
from services.mesh.errors import NotFound, ServiceUnavailable
from services.storage import workers
from services.storage.blobs.blobs import BlobWriter
from services.storage.blobs.directory import DirectoryBlobs
from services.storage.blobs.inflow import open_inflow
from services.storage.blobs.s3 import S3Blobs
from services.storage.domain import State, StoreFull, new_object_key
from services.storage.usecases import deletion, reading, upkeep, uploads
from tests.storage.conftest import MEBIBYTE, SAMPLE, WORKSPACE, Bucket, Storehouse, open_storehouse
from tests.storage.torn import put_head, raw_exchange, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

SMALL_BYTES = 8 * MEBIBYTE


@contextmanager
def small_disk(directory: Path) -> Iterator[bool]:
    """A file system of a few megabytes at the directory; where mounting is not allowed, False and a limit on file sizes."""
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", directory], capture_output=True, check=False)
    if mounted.returncode == 0:
        try:
            yield True
        finally:
            subprocess.run(["umount", "-l", directory], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_BYTES, hard))
    try:
        yield False
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def files_below(directory: Path) -> list[Path]:
    """All files, however deep."""
    return [path for path in directory.rglob("*") if path.is_file()]


async def test_full_disk_refuses_the_upload_and_takes_the_next_one(tmp_path: Path, sqlite_url: str, sandbox: Sandbox) -> None:
    with small_disk(tmp_path / "small"), ThreadPoolExecutor(2) as threads:
        blobs = DirectoryBlobs(tmp_path / "small", 0, threads)
        blobs.prepare()
        async with open_storehouse(sqlite_url, blobs, sandbox) as house:
            media, url = await house.begin()

            async def too_much() -> AsyncIterator[bytes]:
                for _ in range(3 * SMALL_BYTES // MEBIBYTE):
                    yield os.urandom(MEBIBYTE)

            refused = await house.http.put(url, content=too_much())
            assert (refused.status_code, refused.json()["code"]) == (507, "STORE_FULL")
            assert files_below(tmp_path / "small") == []
            assert (await house.http.put(url, content=SAMPLE.read_bytes())).status_code == 201
            assert (await uploads.commit_upload(house.depot, WORKSPACE, media.id, 0)).state == State.READY


async def test_announced_upload_that_would_not_fit_is_refused_before_it_is_sent(tmp_path: Path, sqlite_url: str, sandbox: Sandbox) -> None:
    free_bytes = shutil.disk_usage(tmp_path).free
    with ThreadPoolExecutor(2) as threads:
        blobs = DirectoryBlobs(tmp_path / "blobs", free_bytes - 200 * MEBIBYTE, threads)
        blobs.prepare()
        async with open_storehouse(sqlite_url, blobs, sandbox) as house:
            _, url = await house.begin()
            refused = await raw_exchange(house.port, put_head(url, 400 * MEBIBYTE))
            assert refused.startswith(b"HTTP/1.1 507 ")
            assert b'"STORE_FULL"' in refused
            await house.depot.blobs.check()


async def test_store_below_its_reserve_is_not_ready(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as threads:
        blobs = DirectoryBlobs(tmp_path / "blobs", shutil.disk_usage(tmp_path).free * 2, threads)
        blobs.prepare()
        with pytest.raises(StoreFull):
            await blobs.check()


async def test_blob_without_a_row_is_swept_and_one_with_a_row_stays(storehouse: Storehouse) -> None:
    kept = await storehouse.ready()
    orphan = new_object_key()
    writer = await asyncio.to_thread(storehouse.depot.blobs.open_writer, orphan, "attachment", 0)
    await asyncio.to_thread(writer.write, b"written, published, then the process died")
    await asyncio.to_thread(writer.publish)
    assert await upkeep.sweep_blobs(storehouse.depot, datetime.now(UTC) - timedelta(hours=1)) == 0
    assert await storehouse.blob_keys() == {kept.object_key, orphan}
    assert await upkeep.sweep_blobs(storehouse.depot, datetime.now(UTC) + timedelta(minutes=1)) == 1
    assert await storehouse.blob_keys() == {kept.object_key}


async def test_file_of_a_killed_upload_is_swept_once_it_is_old(disk_storehouse: Storehouse, tmp_path: Path) -> None:
    writer = await asyncio.to_thread(disk_storehouse.depot.blobs.open_writer, new_object_key(), "attachment", 0)
    await asyncio.to_thread(writer.write, b"half of")
    assert await upkeep.sweep_blobs(disk_storehouse.depot, datetime.now(UTC) - timedelta(hours=1)) == 0
    assert len(files_below(tmp_path / "blobs")) == 1
    assert await upkeep.sweep_blobs(disk_storehouse.depot, datetime.now(UTC) + timedelta(minutes=1)) == 1
    assert files_below(tmp_path / "blobs") == []
    await asyncio.to_thread(writer.discard)


async def test_abandoned_upload_goes_with_its_bytes(row_storehouse: Storehouse) -> None:
    media = await row_storehouse.put(b"never committed")
    ready = await row_storehouse.ready()
    assert await upkeep.expire_uploads(row_storehouse.depot, timedelta(hours=1)) == 0
    assert await upkeep.expire_uploads(row_storehouse.depot, timedelta(seconds=-1)) == 1
    with pytest.raises(NotFound):
        await reading.get_media(row_storehouse.depot, WORKSPACE, media.id)
    assert await deletion.reap(row_storehouse.depot) == 1
    assert await row_storehouse.blob_keys() == {ready.object_key}


async def test_deletion_interrupted_between_bytes_and_row_is_finished(row_storehouse: Storehouse) -> None:
    media = await row_storehouse.ready()
    await deletion.delete_media(row_storehouse.depot, WORKSPACE, media.id)
    assert media.object_key is not None
    await row_storehouse.depot.blobs.delete(media.object_key)
    assert await deletion.reap(row_storehouse.depot) == 1
    assert await deletion.reap(row_storehouse.depot) == 0


async def test_lost_blob_reads_as_not_found(storehouse: Storehouse) -> None:
    media = await storehouse.ready()
    address = await reading.sign_media_url(storehouse.depot, WORKSPACE, media.id, None)
    assert media.object_key is not None
    await storehouse.depot.blobs.delete(media.object_key)
    answer = await storehouse.http.get(address.url)
    assert (answer.status_code, answer.json()["code"]) == (404, "MEDIA_NOT_FOUND")


async def test_reaper_removes_bytes_as_soon_as_it_is_woken(disk_storehouse: Storehouse) -> None:
    media = await disk_storehouse.ready()
    work, stopping = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(workers.run_reaper(disk_storehouse.depot, work, 60, stopping))
        await deletion.delete_media(disk_storehouse.depot, WORKSPACE, media.id)
        work.set()
        await until(lambda: is_empty(disk_storehouse), 5)
        stopping.set()


async def is_empty(house: Storehouse) -> bool:
    """Whether no blob is left."""
    return await house.blob_keys() == set()


async def test_unreachable_store_is_unavailable_and_not_ready(bucket: Bucket, tmp_path: Path, sqlite_url: str, sandbox: Sandbox) -> None:
    nowhere = replace(bucket.location(), endpoint="http://127.0.0.1:1", timeout=timedelta(seconds=0.3))
    async with open_storehouse(sqlite_url, S3Blobs(nowhere, tmp_path, presigned=False), sandbox) as house:
        _, url = await house.begin()
        refused = await house.http.put(url, content=bytes(20 * MEBIBYTE))
        assert (refused.status_code, refused.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
        with pytest.raises(ServiceUnavailable):
            await house.depot.blobs.check()
        with pytest.raises(ServiceUnavailable):
            await house.depot.blobs.delete(new_object_key())


async def test_presigned_url_of_the_bucket_downloads_as_an_attachment(
    bucket: Bucket, tmp_path: Path, sqlite_url: str, sandbox: Sandbox
) -> None:
    async with open_storehouse(sqlite_url, S3Blobs(bucket.location(), tmp_path, presigned=True), sandbox) as house:
        media = await house.ready()
        address = await reading.sign_media_url(house.depot, WORKSPACE, media.id, None)
        assert address.url.startswith(bucket.endpoint)
        assert address.store == bucket.name
        answer = await house.http.get(address.url, headers={"range": "bytes=0-3"})
        assert (answer.status_code, answer.content) == (206, SAMPLE.read_bytes()[:4])
        assert answer.headers["content-disposition"].startswith('attachment; filename="hello.flac"')


async def test_upload_of_200_mb_is_hashed_with_flat_memory(disk_storehouse: Storehouse) -> None:
    size, piece = 200 * MEBIBYTE, os.urandom(MEBIBYTE)
    expected = hashlib.sha256()

    async def body() -> AsyncIterator[bytes]:
        for _ in range(size // MEBIBYTE):
            expected.update(piece)
            yield piece

    media, url = await disk_storehouse.begin()
    before = peak_memory_bytes(reset=True)
    answer = await disk_storehouse.http.put(url, content=body())
    growth = peak_memory_bytes() - before
    assert answer.json() == {"size_bytes": size, "sha256": expected.hexdigest()}
    assert growth < 32 * MEBIBYTE
    await deletion.delete_media(disk_storehouse.depot, WORKSPACE, media.id)
    await deletion.reap(disk_storehouse.depot)


def peak_memory_bytes(*, reset: bool = False) -> int:
    """The most resident memory of this process since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def test_upload_cancelled_while_its_file_is_opened_leaves_nothing(disk: DirectoryBlobs, tmp_path: Path) -> None:
    entered, opened = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def open_late() -> BlobWriter:
        loop.call_soon_threadsafe(entered.set)
        opened.wait(10)
        return disk.open_writer(new_object_key(), "attachment", 0)

    async def receive() -> None:
        async with open_inflow(open_late) as inflow:
            await inflow.write(b"x")

    receiving = asyncio.create_task(receive())
    await entered.wait()
    receiving.cancel()
    await asyncio.sleep(0)
    opened.set()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []
