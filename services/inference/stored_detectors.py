"""Trained detectors on the scratch disk, fetched once and kept while they are used."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import httpx2

from services.inference.artefacts import artefact_url
from services.inference.domain import DetectionFailed
from services.inference.downloads import DownloadTooLarge, download
from services.inference.engines.engine import StoredDetector
from services.mesh.status import RemoteError
from steno.storage.v1.storage_service_pb2_grpc import StorageServiceAsyncStub

MOST_DETECTOR_BYTES = 256 * 1024 * 1024
_GONE = (404, 410)


class StoredDetectors:
    """Files by their artefact's id. most: how many stay; of more, those unused for the longest time go."""

    def __init__(self, storage: StorageServiceAsyncStub, client: httpx2.AsyncClient, folder: Path, most: int) -> None:
        self._storage = storage
        self._client = client
        self._folder = folder
        self._most = most
        self._users: Counter[str] = Counter()
        self._fetching: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def held(self, detector_id: str, artefact_id: str) -> AsyncIterator[StoredDetector]:
        """The detector, which stays on the disk within the block. Raises DetectionFailed when it is gone, RemoteError, httpx2.HTTPError."""
        path = self._folder / f"{artefact_id}.onnx"
        self._users[artefact_id] += 1
        try:
            async with self._fetching.setdefault(artefact_id, asyncio.Lock()):
                if not path.is_file():
                    await self._fetch(artefact_id, path)
            os.utime(path)
            self._trim()
            yield StoredDetector(detector_id, path)
        finally:
            self._users[artefact_id] -= 1
            if not self._users[artefact_id]:
                del self._users[artefact_id], self._fetching[artefact_id]

    async def _fetch(self, artefact_id: str, path: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            await download(self._client, await artefact_url(self._storage, artefact_id), path, MOST_DETECTOR_BYTES)
        except DownloadTooLarge as error:
            raise DetectionFailed("The detector's file is too large.") from error
        except RemoteError as error:
            if error.code is not grpc.StatusCode.NOT_FOUND:
                raise
            raise DetectionFailed("The detector is no longer stored.") from error
        except httpx2.HTTPStatusError as error:
            if error.response.status_code not in _GONE:
                raise
            raise DetectionFailed("The detector is no longer stored.") from error

    def _trim(self) -> None:
        kept = sorted(self._folder.glob("*.onnx"), key=_used_at, reverse=True)
        for path in kept[self._most :]:
            if not self._users[path.stem]:
                path.unlink(missing_ok=True)


def _used_at(path: Path) -> float:
    """Another process of the same folder may have removed it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
