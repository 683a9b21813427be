"""A dataset to a trained detector."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from google.protobuf.message import DecodeError

from services.inference.artefacts import artefact_url, discard_artefact, store_artefact
from services.inference.domain import TrainingFailed
from services.inference.downloads import download
from services.inference.lease import Lease
from services.inference.patience import patiently
from services.inference.stored_detectors import MOST_DETECTOR_BYTES
from services.inference.trainer.course import CHECKPOINT, Course
from services.inference.trainer.folders import training_folder
from services.inference.trainer.materials import Materials
from services.inference.trainer.reports import EpochDone, TrainingDone
from services.inference.usecases.publishing import await_bus, publish
from services.inference.usecases.workbench import Tell, Workbench
from services.mesh import semconv
from services.mesh.status import RemoteError
from services.mesh.telemetry import get_logger
from steno.inference.v1.checkpoints_pb2 import TrainedDetector, TrainingEpoch
from steno.inference.v1.inference_events_pb2 import TrainingCompleted

ENGINE = "jax"
CHECKPOINT_TYPE = "application/x-steno-checkpoint"
DETECTOR_TYPE = "application/x-onnx"
MOST_CHECKPOINT_BYTES = 256 * 1024 * 1024
_RESULT = 0
_STORE_PATIENCE_SECONDS = 60.0
_PROGRESS_AFTER_FETCH = 0.02
_PROGRESS_AFTER_EPOCHS = 0.97


async def train(lease: Lease, bench: Workbench) -> Tell:
    """Train the detector, or find that an earlier claim did. Raises what `failure_of` judges."""
    lease.engine = ENGINE
    await lease.report()
    windows = await lease.read_windows()
    trained = _trained(windows)
    duration_ms = lease.job.audio_duration_ms
    if trained is None:
        async with training_folder(bench.scratch) as folder:
            duration_ms = await Materials(bench.datasets, bench.client, folder).gather(lease.job.training, lease.job.id)
            lease.advance(_PROGRESS_AFTER_FETCH)
            trained = await _learned(lease, bench, folder, windows)

    async def tell() -> None:
        await await_bus(bench.bus)
        await publish(bench.bus, _completed(lease, trained, duration_ms), f"training:{lease.job.id}:{lease.fence}")

    return tell


def _trained(windows: Mapping[int, bytes]) -> TrainedDetector | None:
    """What an earlier claim made and did not live to tell of."""
    with suppress(DecodeError):
        found = TrainedDetector.FromString(windows.get(_RESULT, b""))
        return found if found.detector_artefact_id else None
    return None


async def _learned(lease: Lease, bench: Workbench, folder: Path, windows: Mapping[int, bytes]) -> TrainedDetector:
    recorder = Recorder(lease, bench, await _resume(bench, folder, windows))
    done = await Course(bench.trainer, folder, recorder.record).run()
    return await _store_detector(lease, bench, done)


async def _resume(bench: Workbench, folder: Path, windows: Mapping[int, bytes]) -> str:
    """Fetch the state after the last epoch of earlier claims; returns its artefact, empty where there is none."""
    for artefact_id in _checkpoints(windows):
        try:
            url = await artefact_url(bench.storage, artefact_id)
        except RemoteError as error:
            if error.code is not grpc.StatusCode.NOT_FOUND:
                raise
            get_logger("inference.training").warning("checkpoint is gone", artefact_id=artefact_id)
            continue
        await download(bench.client, url, folder / CHECKPOINT, MOST_CHECKPOINT_BYTES)
        return artefact_id
    return ""


def _checkpoints(windows: Mapping[int, bytes]) -> Sequence[str]:
    """Artefacts, that of the latest epoch first."""
    found = []
    for index in sorted(windows, reverse=True):
        with suppress(DecodeError):
            if index != _RESULT and (artefact_id := TrainingEpoch.FromString(windows[index]).checkpoint_artefact_id):
                found.append(artefact_id)
    return found


@dataclass
class Recorder:
    """Keeps finished epochs in jobs, and the state after the last one in storage. stored: its artefact, empty for none."""

    lease: Lease
    bench: Workbench
    stored: str
    _since: float = field(default_factory=time.monotonic)

    async def record(self, epochs: Sequence[EpochDone]) -> None:
        """Put the epochs; of several, only the last with its state. Raises LeaseLost, RemoteError, httpx2.HTTPError, OSError."""
        for epoch in epochs[:-1]:
            await self._put(epoch, "")
        last = epochs[-1]
        body = await asyncio.to_thread(_read, last.checkpoint, MOST_CHECKPOINT_BYTES)
        artefact_id = await _store(self.lease, self.bench, CHECKPOINT_TYPE, body)
        await self._put(last, artefact_id)
        superseded, self.stored = self.stored, artefact_id
        if superseded:
            await discard_artefact(self.bench.storage, superseded)
        self._measure(len(epochs))

    async def _put(self, epoch: EpochDone, artefact_id: str) -> None:
        share = epoch.metrics.epoch / max(1, self.lease.job.training.config.epochs)
        progress = _PROGRESS_AFTER_FETCH + share * (_PROGRESS_AFTER_EPOCHS - _PROGRESS_AFTER_FETCH)
        window = TrainingEpoch(metrics=epoch.metrics, checkpoint_artefact_id=artefact_id)
        await self.lease.put_window(epoch.metrics.epoch, window, progress)

    def _measure(self, epochs: int) -> None:
        now = time.monotonic()
        for _ in range(epochs):
            semconv.STAGE_SECONDS.labels("training_epoch").observe((now - self._since) / epochs)
        self._since = now


async def _store_detector(lease: Lease, bench: Workbench, done: TrainingDone) -> TrainedDetector:
    body = await asyncio.to_thread(_read, done.model, MOST_DETECTOR_BYTES)
    artefact_id = await _store(lease, bench, DETECTOR_TYPE, body)
    trained = TrainedDetector(detector_artefact_id=artefact_id, eval_metrics=done.eval_metrics)
    await lease.put_window(_RESULT, trained, 1.0)
    return trained


async def _store(lease: Lease, bench: Workbench, media_type: str, body: bytes) -> str:
    async def store() -> str:
        return await store_artefact(bench.storage, bench.client, media_type, body, lease.announce)

    return await patiently(store, f"store {media_type}", _STORE_PATIENCE_SECONDS)


def _read(path: Path, most_bytes: int) -> bytes:
    if path.stat().st_size > most_bytes:
        raise TrainingFailed(f"The training made a file of more than {most_bytes} bytes.")
    return path.read_bytes()


def _completed(lease: Lease, trained: TrainedDetector, duration_ms: int) -> TrainingCompleted:
    return TrainingCompleted(
        job_id=lease.job.id,
        workspace_id=lease.job.workspace_id,
        fence=lease.fence,
        detector_artefact_id=trained.detector_artefact_id,
        audio_duration_ms=duration_ms,
    )
