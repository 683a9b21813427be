"""What a training learns from, put into its folder: the order, the labels, the features."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import httpx2

from services.detection.features import FEATURE_COUNT, FRAME_MS
from services.inference.domain import TrainingFailed
from services.inference.downloads import DownloadTooLarge, download
from services.inference.failures import ungrouped
from services.inference.room import check_room
from services.mesh.status import RemoteError
from steno.jobs.v1.detector_pb2 import TrainingConfig, TrainingTask
from steno.storage.v1.datasets_service_pb2 import ListTrainingFilesRequest, ListTrainingFilesResponse
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceAsyncStub

_LIST_SECONDS = 120.0
_AT_ONCE = 4
_VALUE_BYTES = 2
_HEADER_BYTES = 4_096
_SLACK_FRAMES = 100
_SEEDS = 2**31
# Of a URL whose time is over.
_REFUSED = (401, 403)


@dataclass(frozen=True)
class Materials:
    """Where a training's files come from, and the folder that they go to."""

    datasets: DatasetsServiceAsyncStub
    client: httpx2.AsyncClient
    folder: Path

    async def gather(self, task: TrainingTask, job_id: str) -> int:
        """Fill the folder; returns the length of the audio in milliseconds.

        Raises TrainingFailed for a set that is gone, ServiceUnavailable without room, RemoteError, httpx2.HTTPError, OSError.
        """
        files = await self._list(task)
        check_room(self.folder, sum(map(_most_bytes, files)), "the features of this training")
        _write(self.folder / "order.json", order_of(task.config, job_id))
        _write(self.folder / "files.json", [_described(number, file, task.config) for number, file in enumerate(files)])
        await self._fetch(task, files)
        return sum(file.duration_ms for file in files)

    async def _list(self, task: TrainingTask) -> Sequence[ListTrainingFilesResponse]:
        request = ListTrainingFilesRequest(dataset_id=task.dataset_id, annotation_set_id=task.annotation_set_id)
        try:
            return [file async for file in self.datasets.ListTrainingFiles(request, timeout=_LIST_SECONDS)]
        except RemoteError as error:
            if error.code is grpc.StatusCode.NOT_FOUND:
                raise TrainingFailed("The dataset or its annotation set is gone.") from error
            raise

    async def _fetch(self, task: TrainingTask, files: Sequence[ListTrainingFilesResponse]) -> None:
        """The features of every file. URLs are good for minutes: when their time is over, those that are missing get new ones."""
        numbers = {file.audio_id: number for number, file in enumerate(files)}
        missing = set(numbers.values())
        while missing:
            refusal = await self._fetch_missing([(numbers[file.audio_id], file) for file in files if file.audio_id in numbers])
            before, missing = missing, {number for number in missing if not self._features(number).exists()}
            if refusal and missing == before:
                raise refusal
            if missing:
                files = await self._list(task)

    async def _fetch_missing(self, files: Sequence[tuple[int, ListTrainingFilesResponse]]) -> httpx2.HTTPStatusError | None:
        """Returns a refusal, if there was one. Raises whatever else goes wrong."""
        room, refusals = asyncio.Semaphore(_AT_ONCE), list[httpx2.HTTPStatusError]()

        async def fetch(number: int, file: ListTrainingFilesResponse) -> None:
            async with room:
                try:
                    await download(self.client, file.features_url.url, self._features(number), _most_bytes(file))
                except httpx2.HTTPStatusError as error:
                    if error.response.status_code not in _REFUSED:
                        raise
                    refusals.append(error)
                except DownloadTooLarge as error:
                    raise TrainingFailed("The features of a file are longer than its audio.") from error

        with ungrouped():
            async with asyncio.TaskGroup() as group:
                for number, file in files:
                    if not self._features(number).exists():
                        group.create_task(fetch(number, file), name=f"features {number}")
        return refusals[0] if refusals else None

    def _features(self, number: int) -> Path:
        return self.folder / _features_name(number)


def order_of(config: TrainingConfig, job_id: str) -> Mapping[str, Any]:
    """The order as the trainer reads it; the same job has the same seed."""
    return {
        "artifact_types": list(config.artifact_types),
        "epochs": config.epochs,
        "validation_split": config.validation_split,
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size,
        "chunk_size_ms": config.chunk_size_ms,
        "stride_ms": config.stride_ms,
        "seed": UUID(job_id).int % _SEEDS,
    }


def _described(number: int, file: ListTrainingFilesResponse, config: TrainingConfig) -> Mapping[str, Any]:
    learned = set(config.artifact_types)
    annotations = [
        {
            "artifact_type": annotation.artifact_type,
            "start_ms": annotation.start_offset_ms,
            "end_ms": annotation.end_offset_ms,
            "confidence": annotation.confidence,
        }
        for annotation in file.annotations
        if annotation.artifact_type in learned
    ]
    return {"audio_id": file.audio_id, "features": _features_name(number), "duration_ms": file.duration_ms, "annotations": annotations}


def _features_name(number: int) -> str:
    return f"{number:06d}.npy"


def _most_bytes(file: ListTrainingFilesResponse) -> int:
    """Of the features of so much audio, whose length is told to a few frames."""
    return (file.duration_ms // FRAME_MS + _SLACK_FRAMES) * FEATURE_COUNT * _VALUE_BYTES + _HEADER_BYTES


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
