"""Blobs as files: written aside, made durable, then renamed into place."""

import asyncio
import errno
import os
import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

from services.mesh import fault, semconv
from services.mesh.errors import ServiceUnavailable
from services.storage.blobs.blobs import PIECE_BYTES, BlobEntry, BlobMissing, BlobWriter, Form, FormTerms
from services.storage.domain import StoreFull

_Result = TypeVar("_Result")
_Arguments = TypeVarTuple("_Arguments")

# RLIMIT_FSIZE and some network file systems answer EFBIG where a disk answers ENOSPC.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
_KEY = re.compile(r"[0-9a-f]{32}")
_PRIVATE_FILE, _PRIVATE_DIRECTORY = 0o600, 0o700
_FANOUT = tuple(f"{number:02x}" for number in range(256))


class DirectoryBlobs:
    """A directory: `objects/<first two digits>/<key>` beside `incoming/<key>` on the same file system."""

    store = "disk"

    def __init__(self, root: Path, reserve_bytes: int, threads: Executor) -> None:
        self._objects = root / "objects"
        self._incoming = root / "incoming"
        self._reserve_bytes = reserve_bytes
        self._threads = threads

    def prepare(self) -> None:
        """Make the directories, durably."""
        for directory in (self._incoming, *(self._objects / name for name in _FANOUT)):
            directory.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        for directory in (self._objects, self._objects.parent):
            _sync_directory(directory)

    def open_writer(self, key: str, disposition: str, expected_bytes: int) -> BlobWriter:
        """Start a file under `incoming/`, unless it would not fit."""
        with _translated():
            self._require_room(expected_bytes)
            return FileWriter(self._incoming / key, self._path(key))

    @asynccontextmanager
    async def read(self, key: str, start: int, end: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """The file's bytes, one piece read ahead of the consumer."""
        async with self.open_file(key) as descriptor, aclosing(self._pieces(descriptor, start, end)) as pieces:
            yield pieces

    @asynccontextmanager
    async def open_file(self, key: str) -> AsyncIterator[int]:
        """The file itself, read-only."""
        with _translated(key):
            descriptor = await self._run(_open_to_read, self._path(key))
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    async def delete(self, key: str) -> None:
        """Unlink the file and what a broken writer of it left."""
        with _translated():
            await self._run(_remove, self._path(key))
            fault.point("storage.blob.after_unlink")
            await self._run(_remove, self._incoming / key)

    async def entries(self) -> AsyncIterator[Sequence[BlobEntry]]:
        """All files under `objects/`, one directory at a time."""
        for name in _FANOUT:
            with _translated():
                found = await self._run(_scan, self._objects / name)
            yield found

    async def sweep_remnants(self, before: datetime) -> int:
        """Remove the files under `incoming/` that nobody has written to since."""
        with _translated():
            stale = [entry for entry in await self._run(_scan, self._incoming) if entry.modify_time < before]
            for entry in stale:
                await self._run(_remove, self._incoming / entry.key)
        return len(stale)

    async def presign(self, key: str, lifetime: timedelta) -> str | None:
        """None: the data plane serves files."""
        return None

    def form(self, key: str, terms: FormTerms, now: datetime) -> Form | None:
        """None: the data plane takes forms."""
        return None

    async def size(self, key: str) -> int:
        """Length of the file."""
        with _translated(key):
            return (await self._run(os.stat, self._path(key))).st_size

    async def copy(self, key: str, new_key: str) -> None:
        """Another name of the file, which never changes; a file of its own where the file system has no such names."""
        with _translated(key):
            self._require_room(0)
            await self._run(_copy, self._path(key), self._incoming / new_key, self._path(new_key))

    async def check(self) -> None:
        """Write and remove a small file, and look at the free space."""
        with _translated():
            await self._run(self._require_room, 0)
            await self._run(_touch, self._incoming / f".check-{os.getpid()}")

    def _path(self, key: str) -> Path:
        if _KEY.fullmatch(key) is None:
            raise BlobMissing(key)
        return self._objects / key[:2] / key

    def _require_room(self, expected_bytes: int) -> None:
        size_bytes, _, free_bytes = shutil.disk_usage(self._incoming)
        semconv.STORE_SIZE_BYTES.set(size_bytes)
        semconv.STORE_FREE_BYTES.set(free_bytes)
        if free_bytes < self._reserve_bytes + expected_bytes:
            raise StoreFull

    async def _run(self, function: Callable[[Unpack[_Arguments]], _Result], *arguments: *_Arguments) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _pieces(self, descriptor: int, start: int, end: int) -> AsyncGenerator[bytes, None]:
        offset, ahead = start, self._piece(descriptor, start, end)
        try:
            while ahead is not None:
                piece = await ahead
                offset += len(piece)
                ahead = self._piece(descriptor, offset, end) if piece else None
                yield piece
        finally:
            if ahead is not None:
                await asyncio.wait([ahead])

    def _piece(self, descriptor: int, offset: int, end: int) -> asyncio.Future[bytes] | None:
        if offset >= end:
            return None
        length = min(PIECE_BYTES, end - offset)
        return asyncio.get_running_loop().run_in_executor(self._threads, os.pread, descriptor, length, offset)


class FileWriter:
    """One file on its way in."""

    def __init__(self, incoming: Path, final: Path) -> None:
        self._incoming = incoming
        self._final = final
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.fdopen(os.open(incoming, flags, _PRIVATE_FILE), "wb", buffering=0)

    def write(self, piece: bytes) -> None:
        """Append to the file."""
        rest = memoryview(piece)
        with _translated():
            while rest:
                rest = rest[self._file.write(rest) :]

    def publish(self) -> None:
        """File to disk, rename, directory to disk."""
        with _translated():
            fault.point("storage.blob.before_sync")
            os.fsync(self._file.fileno())
            self._file.close()
            fault.point("storage.blob.after_sync")
            self._incoming.rename(self._final)
            fault.point("storage.blob.after_rename")
            _sync_directory(self._final.parent)

    def discard(self) -> None:
        """Close and unlink; a published file has another name by then."""
        with _translated():
            self._file.close()
            _remove(self._incoming)


@contextmanager
def _translated(key: str = "") -> Iterator[None]:
    """What the kernel says, as an error of the mesh. With a key, a missing file is that blob's."""
    try:
        yield
    except FileNotFoundError as error:
        if key:
            raise BlobMissing(key) from error
        raise ServiceUnavailable(service="storage") from error
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull from error
        raise ServiceUnavailable(service="storage") from error


def _open_to_read(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _copy(source: Path, incoming: Path, final: Path) -> None:
    """Durably; a copy that is there already stays."""
    try:
        with suppress(FileExistsError):
            final.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(source, incoming)
        with incoming.open("rb") as copied:
            os.fsync(copied.fileno())
        incoming.rename(final)
    _sync_directory(final.parent)


def _touch(path: Path) -> None:
    path.write_bytes(b"steno")
    path.unlink()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _scan(directory: Path) -> list[BlobEntry]:
    with os.scandir(directory) as found:
        return [entry for item in found if (entry := _entry(item)) is not None]


def _entry(item: os.DirEntry[str]) -> BlobEntry | None:
    """None for what is no blob of ours, or is gone by now."""
    try:
        status = item.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    if _KEY.fullmatch(item.name) is None:
        return None
    return BlobEntry(item.name, datetime.fromtimestamp(status.st_mtime, UTC))
