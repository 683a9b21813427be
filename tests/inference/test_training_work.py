"""A training ends in one detector, whatever dies on the way, and stops when nobody wants it any more."""

import asyncio
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from services.detection.features import FEATURE_COUNT, features
from services.inference.trainer.child import TrainerProgram
from services.inference.trainer.folders import sweep_folders
from steno.inference.v1.checkpoints_pb2 import TrainedDetector, TrainingEpoch
from steno.inference.v1.inference_events_pb2 import DetectionCompleted, TrainingCompleted
from steno.jobs.v1.detector_pb2 import InferenceConfig, TrainingConfig
from steno.jobs.v1.job_pb2 import Job
from steno.storage.v1.annotation_set_pb2 import Annotation
from tests.inference.detection_data import noise, npy, wav
from tests.inference.stage import Stage, until

pytestmark = pytest.mark.asyncio(loop_scope="session")
EPOCHS = 6
PLAYER = Path(__file__).with_name("played_trainer.py")
FILE_MS = 2_000
REAL_EPOCHS = 3
# 15 s on two idle cores; compiling takes most of it.
REAL_SECONDS = 270.0


def plan(epochs: int = EPOCHS) -> TrainingConfig:
    return TrainingConfig(
        artifact_types=["click", "hum"],
        epochs=epochs,
        validation_split=0.2,
        learning_rate=0.001,
        batch_size=32,
        chunk_size_ms=500,
        stride_ms=250,
    )


def order(stage: Stage, mode: str, *, epochs: int = EPOCHS, silence_seconds: float = 60.0) -> Job:
    """A training of two files by a trainer that behaves so."""
    program = TrainerProgram((sys.executable, str(PLAYER), mode), silence_seconds)
    stage.bench = replace(stage.bench, trainer=program)
    for _ in range(2):
        labels = [Annotation(artifact_type=name, start_offset_ms=100, end_offset_ms=200, confidence=1) for name in ("click", "pop")]
        stage.datasets.add_file(npy(np.zeros((FILE_MS // 20, FEATURE_COUNT), np.float16)), FILE_MS, labels)
    return stage.work.add_training(plan(epochs))


def real(stage: Stage) -> Job:
    """A training of noise with loud moments by the trainer of the service."""
    for seed in range(4):
        spans = [(start, start + 300) for start in range(1_000 + 100 * seed, 14_000, 2_000)]
        labels = [Annotation(artifact_type="click", start_offset_ms=start, end_offset_ms=end, confidence=1) for start, end in spans]
        stage.datasets.add_file(npy(features(noise(15, spans, seed))), 15_000, labels)
    config = plan(REAL_EPOCHS)
    config.artifact_types[:] = ["click"]
    return stage.work.add_training(config)


def epochs_of(stage: Stage, job: Job) -> dict[int, TrainingEpoch]:
    return {index: TrainingEpoch.FromString(window) for index, window in stage.work.windows_of(job).items() if index}


def detector_of(stage: Stage, job: Job) -> TrainedDetector:
    return TrainedDetector.FromString(stage.work.windows_of(job)[0])


async def completed(stage: Stage, job: Job) -> TrainingCompleted:
    return await stage.told_of(job, TrainingCompleted)


def trainers() -> list[psutil.Process]:
    """The processes below this one that train."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if process.status() != psutil.STATUS_ZOMBIE and _trains(process)]


def _trains(process: psutil.Process) -> bool:
    try:
        return any("services.inference.training" in part or "played_trainer" in part for part in process.cmdline())
    except psutil.NoSuchProcess:
        return False


async def test_training_becomes_epochs_and_one_stored_detector(stage: Stage) -> None:
    job = order(stage, "steady")
    await stage.run(job)
    event = await completed(stage, job)
    assert stage.published(job) == [f"training:{job.id}:1"]
    assert (event.workspace_id, event.fence, event.audio_duration_ms) == (job.workspace_id, 1, 2 * FILE_MS)
    assert stage.storage.body(event.detector_artefact_id) == b"a detector"
    detector = detector_of(stage, job)
    assert detector.detector_artefact_id == event.detector_artefact_id
    assert detector.eval_metrics.per_class["hum"].support == 4
    assert detector.eval_metrics.precision == 0.5
    epochs = epochs_of(stage, job)
    assert [epochs[index].metrics.epoch for index in sorted(epochs)] == list(range(1, EPOCHS + 1))
    assert epochs[2].metrics.training_loss == 0.5
    progress = [put.progress for put in stage.work.put]
    assert progress == sorted(progress)
    assert len(set(progress)) > 3
    assert list(stage.bench.scratch.glob("training-*")) == []


async def test_superseded_checkpoints_are_deleted_and_every_artefact_was_announced(stage: Stage) -> None:
    job = order(stage, "steady")
    await stage.run(job)
    event = await completed(stage, job)
    last = epochs_of(stage, job)[EPOCHS].checkpoint_artefact_id
    assert set(stage.storage.artefacts) == {event.detector_artefact_id, last}
    assert stage.storage.body(last) == str(EPOCHS).encode()
    announced = {report.transcript_artefact_id for report in stage.work.reports}
    stored = {epoch.checkpoint_artefact_id for epoch in epochs_of(stage, job).values()} - {""}
    assert stored | {event.detector_artefact_id} <= announced


async def test_trainer_that_dies_goes_on_from_its_last_epoch(stage: Stage) -> None:
    job = order(stage, "dies-once")
    await stage.run(job)
    await completed(stage, job)
    epochs = epochs_of(stage, job)
    assert sorted(epochs) == list(range(1, EPOCHS + 1))
    assert [epochs[index].metrics.validation_f1_score for index in sorted(epochs)] == [0, 0, 0.02, 0.02, 0.02, 0.02], (
        "the second began at 2"
    )
    assert stage.work.released == []


async def test_trainer_that_dies_after_every_epoch_still_gets_to_the_end(stage: Stage) -> None:
    job = order(stage, "dies-late", epochs=6)
    await stage.run(job)
    await completed(stage, job)
    assert sorted(epochs_of(stage, job)) == list(range(1, 7))


async def test_trainer_that_always_dies_fails_the_attempt(stage: Stage) -> None:
    job = order(stage, "dies")
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("TRAINING_FAILED", True)
    assert stage.storage.artefacts == {}
    assert list(stage.bench.scratch.glob("training-*")) == []


async def test_silent_trainer_is_killed_with_its_children(stage: Stage) -> None:
    job = order(stage, "silent", silence_seconds=1.0)
    work = stage.start(job)
    await until(lambda: list(stage.bench.scratch.glob("training-*/pids")), "the trainer to hold")
    pids = [int(pid) for pid in next(stage.bench.scratch.glob("training-*/pids")).read_text().split()]
    await until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "both to end")
    stage.stopping.set()
    await work


async def test_refusal_of_the_trainer_fails_the_job_for_good(stage: Stage) -> None:
    job = order(stage, "refuses")
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.message, event.retryable) == ("TRAINING_FAILED", "The loss is no number.", False)


async def test_report_that_lacks_something_is_a_fault_of_ours(stage: Stage) -> None:
    job = order(stage, "babbles")
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("INTERNAL", True)


async def test_cancelled_training_ends_its_processes_within_seconds(stage: Stage) -> None:
    job = order(stage, "silent")
    work = stage.start(job)
    await until(lambda: list(stage.bench.scratch.glob("training-*/pids")), "the trainer to hold")
    pids = [int(pid) for pid in next(stage.bench.scratch.glob("training-*/pids")).read_text().split()]
    stage.work.take_over(job.id)
    began = time.monotonic()
    await work
    assert time.monotonic() - began < 5, "with a lease of 30 s"
    await until(lambda: not any(psutil.pid_exists(pid) for pid in pids), "both to end")
    assert stage.published(job) == []
    assert stage.work.released == []
    assert list(stage.bench.scratch.glob("training-*")) == []


async def test_stopping_gives_the_training_back_and_the_next_claim_goes_on(stage: Stage) -> None:
    job = order(stage, "steady", epochs=40)
    work = stage.start(job)
    await until(lambda: len(epochs_of(stage, job)) >= 2, "two epochs")
    stage.stopping.set()
    await work
    assert len(stage.work.released) == 1
    await until(lambda: not trainers(), "every process to end")
    done = max(index for index, epoch in epochs_of(stage, job).items() if epoch.checkpoint_artefact_id)
    stage.stopping.clear()
    await stage.run(job)
    event = await completed(stage, job)
    epochs = epochs_of(stage, job)
    assert sorted(epochs) == list(range(1, 41))
    assert epochs[40].metrics.validation_f1_score == done / 100, "it began where the first ended"
    assert event.fence == 2
    # One that was stored and not yet told of when the first claim stopped is left to jobs, which knows it.
    left = set(stage.storage.artefacts) - {event.detector_artefact_id, epochs[40].checkpoint_artefact_id}
    assert len(left) <= 1
    assert left <= {report.transcript_artefact_id for report in stage.work.reports}


async def test_claim_after_the_result_was_put_only_tells_of_it(stage: Stage) -> None:
    job = order(stage, "dies")
    artefact_id = stage.storage.add_artefact(b"a detector")
    stage.work.windows[job.id, 0] = TrainedDetector(detector_artefact_id=artefact_id).SerializeToString()
    await stage.run(job)
    event = await completed(stage, job)
    assert event.detector_artefact_id == artefact_id
    assert stage.datasets.lists == 0


async def test_checkpoint_that_is_gone_makes_the_training_begin_anew(stage: Stage) -> None:
    job = order(stage, "steady")
    stage.work.windows[job.id, 3] = TrainingEpoch(checkpoint_artefact_id="gone").SerializeToString()
    stage.work.windows[job.id, 4] = b"\xff"
    await stage.run(job)
    await completed(stage, job)
    assert epochs_of(stage, job)[EPOCHS].metrics.validation_f1_score == 0


async def test_dataset_that_is_gone_fails_the_job_for_good(stage: Stage) -> None:
    stage.datasets.gone = True
    job = order(stage, "steady")
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("TRAINING_FAILED", False)
    assert "gone" in event.message


async def test_features_whose_urls_have_ended_get_new_ones(stage: Stage) -> None:
    stage.datasets.expired = 1
    job = order(stage, "steady")
    await stage.run(job)
    await completed(stage, job)
    assert stage.datasets.lists == 2


async def test_features_longer_than_their_audio_are_refused(stage: Stage) -> None:
    job = order(stage, "steady")
    stage.datasets.add_file(npy(np.zeros((1_000, FEATURE_COUNT), np.float16)), 20, [])
    await stage.run(job)
    event = await stage.failed(job)
    assert (event.reason, event.retryable) == ("TRAINING_FAILED", False)


async def test_features_that_do_not_fit_are_not_fetched(stage: Stage) -> None:
    job = order(stage, "steady")
    stage.datasets.add_file(b"", 1 << 50, [])
    await stage.run(job)
    assert len(stage.work.released) == 1
    assert stage.work.released[0].delay.ToTimedelta().total_seconds() > 0
    assert stage.published(job) == []


async def test_jobs_and_storage_away_for_a_moment_cost_no_epoch(stage: Stage) -> None:
    stage.work.away = {"PutWindow": 3, "ExtendLease": 1}
    stage.storage.away = 3
    job = order(stage, "steady")
    await stage.run(job)
    event = await completed(stage, job)
    assert event.fence == 1
    assert sorted(epochs_of(stage, job)) == list(range(1, EPOCHS + 1))


async def test_real_training_killed_in_mid_epoch_ends_completed_with_one_detector_that_works(stage: Stage) -> None:
    job = real(stage)
    work = stage.start(job, REAL_SECONDS)
    await until(lambda: epochs_of(stage, job), "the first epoch", REAL_SECONDS)
    (trainer,) = trainers()
    trainer.kill()
    await work
    event = await completed(stage, job)
    assert event.fence == 1
    epochs = epochs_of(stage, job)
    assert sorted(epochs) == list(range(1, REAL_EPOCHS + 1))
    assert set(stage.storage.artefacts) == {event.detector_artefact_id, epochs[REAL_EPOCHS].checkpoint_artefact_id}
    found = stage.work.add_detection(
        stage.storage.add_media(wav(noise(4, [(1_000, 2_000)]))), event.detector_artefact_id, InferenceConfig()
    )
    await stage.run(found)
    await stage.told_of(found, DetectionCompleted)


async def test_trainer_ends_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
from pathlib import Path
from services.inference.trainer.child import TrainerProgram, open_trainer

async def main():
    async with open_trainer(TrainerProgram((sys.executable, {str(PLAYER)!r}, "silent")), Path({str(tmp_path)!r})) as child:
        await child.reports.get()

asyncio.run(main())
"""
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    await until(lambda: (tmp_path / "pids").exists() and (tmp_path / "pids").read_text(), "the trainer to hold")
    trainer, sleeper = (int(pid) for pid in (tmp_path / "pids").read_text().split())
    os.kill(worker.pid, signal.SIGKILL)
    await worker.wait()
    try:
        await until(lambda: not psutil.pid_exists(trainer), "the trainer to end")
    finally:
        os.kill(sleeper, signal.SIGKILL)


async def test_folder_of_a_killed_worker_is_swept_and_one_in_use_is_not(stage: Stage) -> None:
    left = stage.bench.scratch / "training-left"
    left.mkdir()
    (left / "lock").touch()
    work = stage.start(order(stage, "silent"))
    await until(lambda: list(stage.bench.scratch.glob("training-*/pids")), "the trainer to hold")
    assert sweep_folders(stage.bench.scratch) == 1
    assert not left.exists()
    assert len(list(stage.bench.scratch.glob("training-*/pids"))) == 1
    stage.stopping.set()
    await work
