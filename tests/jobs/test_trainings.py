"""Trainings: ordered with every precondition held, worked on under the same claims as transcriptions, kept with their metrics."""

from collections.abc import Callable
from typing import Any

import pytest

from services.jobs.app import SCHEMA
from services.mesh.database import open_database
from services.mesh.status import RemoteError
from services.mesh.streams import event_subject
from steno.inference.v1.checkpoints_pb2 import TrainedDetector, TrainingEpoch
from steno.inference.v1.inference_events_pb2 import TrainingCompleted
from steno.jobs.v1 import detection_job_pb2 as states
from steno.jobs.v1 import work_service_pb2 as work_pb
from steno.jobs.v1.detector_pb2 import ClassMetrics, EpochMetrics, EvaluationMetrics, TrainingConfig
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_events_pb2 import JobCancelled, JobFailed, JobSucceeded, WorkDispatched
from steno.storage.v1.annotation_set_pb2 import AnnotationSet
from steno.storage.v1.datasets_service_pb2 import DescribeTrainingSetResponse
from tests.jobs.conftest import StageFactory
from tests.jobs.stage import Lab, Stage, claim, until
from tests.jobs.test_access import refusal
from tests.jobs.test_migrations import add_kind


async def order(lab: Lab, described: DescribeTrainingSetResponse, **config: Any) -> states.TrainingJob:
    """A training of the set; one type unless others are given."""
    asked = TrainingConfig(**({"artifact_types": ["hum"]} | config))
    ids = {"dataset_id": described.dataset.id, "annotation_set_id": described.annotation_set.id}
    return (await lab.ask("CreateTrainingJob", **ids, config=asked)).training_job  # type: ignore[no-any-return]


async def put(worker: Any, job_id: str, fence: int, index: int, window: bytes, progress: float = 0.0) -> None:
    """Puts a window of a job."""
    await worker.PutWindow(work_pb.PutWindowRequest(job_id=job_id, fence=fence, index=index, window=window, progress=progress))


def epoch(number: int, loss: float = 0.5, checkpoint: str = "") -> bytes:
    """An epoch as a worker puts it."""
    metrics = EpochMetrics(epoch=number, training_loss=loss, validation_loss=loss * 2, validation_f1_score=0.25)
    return TrainingEpoch(metrics=metrics, checkpoint_artefact_id=checkpoint).SerializeToString()


def trained(artefact_id: str) -> bytes:
    """The result as a worker puts it."""
    classes = {"hum": ClassMetrics(precision=0.5, recall=1.0, f1_score=2 / 3, support=4, threshold=0.3)}
    metrics = EvaluationMetrics(precision=0.5, recall=1.0, f1_score=2 / 3, per_class=classes)
    return TrainedDetector(detector_artefact_id=artefact_id, eval_metrics=metrics).SerializeToString()


async def tell(mesh: Stage, job_id: str, fence: int, artefact_id: str, *, workspace_id: str = "ws", event_id: str = "") -> None:
    """Tells jobs of a detector, as inference does."""
    result = TrainingCompleted(
        job_id=job_id, fence=fence, workspace_id=workspace_id, detector_artefact_id=artefact_id, audio_duration_ms=300_000
    )
    await mesh.bus.publish(event_subject("inference", TrainingCompleted), result, event_id=event_id or f"training:{job_id}:{fence}")


async def made_detector(mesh: Stage, lab: Lab, *types: str) -> str:
    """The id of a detector that was ordered, trained and told of."""
    described = mesh.datasets.add_set(*(types or ("hum",)), workspace_id=lab.caller.workspace_id, owner=lab.caller.owner)
    training = await order(lab, described, artifact_types=types or ("hum",))
    worker = await mesh.worker()
    taken = await claim(worker, training.id)
    artefact_id = mesh.storage.add_artefact(lab.caller.workspace_id)
    await put(worker, training.id, taken.fence, 0, trained(artefact_id))
    await tell(mesh, training.id, taken.fence, artefact_id, workspace_id=lab.caller.workspace_id)
    await until(lambda: completed(lab, training.id))
    return (await lab.ask("GetTrainingJob", training_job_id=training.id)).training_job.model_id  # type: ignore[no-any-return]


async def completed(lab: Lab, job_id: str) -> bool:
    """Whether the training is completed."""
    found = (await lab.ask("GetTrainingJob", training_job_id=job_id)).training_job
    return bool(found.state == states.DETECTION_STATE_COMPLETED)


async def test_training_runs_from_its_order_to_a_detector_and_costs_nothing(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        described = mesh.datasets.add_set("hum", "click")
        made = await order(lab, described, artifact_types=["hum", "click"])
        assert (made.state, made.progress, made.model_id, made.workspace_id) == (states.DETECTION_STATE_PENDING, 0.0, "", "ws")
        await until(lambda: mesh.told_of(WorkDispatched, made.id))
        taken = await claim(worker, made.id)
        assert (taken.job.kind, taken.job.media_id) == (Job.KIND_TRAINING, "")
        task = taken.job.training
        assert (task.dataset_id, task.annotation_set_id, task.config) == (made.dataset_id, made.annotation_set_id, made.config)
        await put(worker, made.id, taken.fence, 1, epoch(1), 0.5)
        await put(worker, made.id, taken.fence, 2, epoch(2, 0.25), 0.4)
        running = (await lab.ask("GetTrainingJob", training_job_id=made.id)).training_job
        assert (running.state, running.progress) == (states.DETECTION_STATE_RUNNING, 0.5), "progress never falls"
        artefact_id = mesh.storage.add_artefact("ws")
        await put(worker, made.id, taken.fence, 0, trained(artefact_id), 0.9)
        await tell(mesh, made.id, taken.fence, artefact_id)
        await until(lambda: completed(lab, made.id))
        done = (await lab.ask("GetTrainingJob", training_job_id=made.id)).training_job
        assert [(item.epoch, item.training_loss) for item in done.metrics] == [(1, 0.5), (2, 0.25)]
        assert done.HasField("start_time")
        assert done.HasField("complete_time")
        detector = (await lab.ask("GetDetector", model_id=done.model_id)).detector
        assert (detector.name, list(detector.artifact_types), detector.training_job_id) == ("Yard v3", ["hum", "click"], made.id)
        assert (detector.is_active, detector.artefact_id, detector.eval_metrics.per_class["hum"].support) == (True, artefact_id, 4)
        assert ("ws", artefact_id) in mesh.storage.artefacts
        assert not mesh.billing.holds
        assert not [event for kind in (JobSucceeded, JobFailed, JobCancelled) for event in mesh.told_of(kind, made.id)]


async def test_metrics_outlive_the_windows_they_came_in(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        made = await order(lab, mesh.datasets.add_set("hum"))
        taken = await claim(worker, made.id)
        await put(worker, made.id, taken.fence, 1, epoch(1))
        await lab.ask("CancelTrainingJob", training_job_id=made.id)
        page = await lab.ask("ListTrainingJobs")
        assert [[item.epoch for item in training.metrics] for training in page.training_jobs] == [[1]]


async def test_an_epoch_that_is_run_again_counts_with_its_last_run(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        made = await order(lab, mesh.datasets.add_set("hum"))
        taken = await claim(worker, made.id)
        for loss in (0.5, 0.125):
            await put(worker, made.id, taken.fence, 1, epoch(1, loss))
        assert [item.training_loss for item in (await lab.ask("GetTrainingJob", training_job_id=made.id)).training_job.metrics] == [0.125]


async def test_defaults_stand_in_for_what_is_not_said(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        config = (await order(lab, mesh.datasets.add_set("hum"))).config
        assert (config.epochs, config.validation_split, config.learning_rate, config.batch_size) == (20, 0.2, 0.001, 32)
        assert (config.chunk_size_ms, config.stride_ms) == (500, 250)
        assert (await order(lab, mesh.datasets.add_set("hum"), chunk_size_ms=100)).config.stride_ms == 100


BAD_CONFIGS: list[tuple[dict[str, Any], str]] = [
    ({"artifact_types": []}, "artifact_types"),
    ({"artifact_types": ["hum", "hum"]}, "artifact_types"),
    ({"artifact_types": ["x" * 101]}, "artifact_types"),
    ({"artifact_types": [f"t{number}" for number in range(51)]}, "artifact_types"),
    ({"epochs": -1}, "epochs"),
    ({"epochs": 101}, "epochs"),
    ({"validation_split": 0.09}, "validation_split"),
    ({"validation_split": 0.51}, "validation_split"),
    ({"validation_split": float("nan")}, "validation_split"),
    ({"learning_rate": 0.00009}, "learning_rate"),
    ({"learning_rate": 0.11}, "learning_rate"),
    ({"batch_size": 7}, "batch_size"),
    ({"batch_size": 257}, "batch_size"),
    ({"chunk_size_ms": 99}, "chunk_size_ms"),
    ({"chunk_size_ms": 10_001}, "chunk_size_ms"),
    ({"stride_ms": 49}, "stride_ms"),
    ({"stride_ms": 501}, "stride_ms"),
]


async def test_numbers_out_of_their_ranges_are_refused_by_name(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, described = await mesh.lab(), mesh.datasets.add_set("hum")
        for config, field in BAD_CONFIGS:
            refused = await refusal(order(lab, described, **config))
            assert (refused.reason_name, refused.metadata["field"]) == ("INVALID_FIELD", f"config.{field}"), config
        limits = {"epochs": 100, "validation_split": 0.5, "learning_rate": 0.1, "batch_size": 256, "chunk_size_ms": 10_000}
        assert (await order(lab, described, **limits, stride_ms=10_000)).config.stride_ms == 10_000
        least = {"epochs": 1, "validation_split": 0.1, "learning_rate": 0.0001, "batch_size": 8, "chunk_size_ms": 100, "stride_ms": 50}
        assert (await order(lab, described, **least)).config.epochs == 1


def _draft(described: DescribeTrainingSetResponse) -> None:
    described.annotation_set.state = AnnotationSet.STATE_DRAFT


def _unready(described: DescribeTrainingSetResponse) -> None:
    described.ready_file_count = 1


def _short(described: DescribeTrainingSetResponse) -> None:
    described.ready_duration_ms = 299_999


def _unlabelled(described: DescribeTrainingSetResponse) -> None:
    described.annotation_set.annotations_by_type["hum"] = 0


def _undeclared(described: DescribeTrainingSetResponse) -> None:
    del described.dataset.artifact_types[:]


PRECONDITIONS: list[tuple[Callable[[DescribeTrainingSetResponse], None], str]] = [
    (_draft, "ANNOTATION_SET_NOT_PUBLISHED"),
    (_unready, "AUDIO_NOT_READY"),
    (_short, "TOO_LITTLE_AUDIO"),
    (_unlabelled, "TOO_FEW_ANNOTATIONS"),
    (_undeclared, "UNKNOWN_ARTIFACT_TYPE"),
]


async def test_every_precondition_is_refused_by_its_name(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        for spoil, reason in PRECONDITIONS:
            described = mesh.datasets.add_set("hum")
            spoil(described)
            assert (await refusal(order(lab, described))).reason_name == reason
        assert (await refusal(order(lab, DescribeTrainingSetResponse()))).reason_name == "DATASET_NOT_FOUND"
        assert (await lab.ask("ListTrainingJobs")).total_size == 0


async def test_trainings_are_their_owners_alone(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab = await mesh.lab()
        described = mesh.datasets.add_set("hum")
        made = await order(lab, described)
        for other in (await mesh.lab("other"), await mesh.lab(owner="user:u")):
            for method in ("GetTrainingJob", "CancelTrainingJob"):
                assert (await refusal(other.ask(method, training_job_id=made.id))).reason_name == "TRAINING_JOB_NOT_FOUND"
            assert (await other.ask("ListTrainingJobs")).total_size == 0
            assert (await refusal(order(other, described))).reason_name == "DATASET_NOT_FOUND"
        guest = await mesh.guest()
        guests = Lab(lab.stub, guest.caller)
        assert (await refusal(order(guests, described))).reason_name == "AUTHENTICATION_REQUIRED"
        assert (await refusal(guests.ask("ListTrainingJobs"))).reason_name == "AUTHENTICATION_REQUIRED"


async def test_transcriptions_and_trainings_do_not_see_each_other(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, owner = await mesh.lab(), await mesh.owner()
        made = await order(lab, mesh.datasets.add_set("hum"))
        job = (await owner.create(mesh.storage.add_media("ws"), "key")).job
        listed = await owner.list()
        assert ([item.id for item in listed.jobs], listed.total_size) == ([job.id], 1)
        assert (await owner.list(states=[Job.STATE_QUEUED])).total_size == 1
        for call in (owner.get(made.id), owner.cancel(made.id), owner.delete(made.id)):
            assert (await refusal(call)).reason_name == "JOB_NOT_FOUND"
        with pytest.raises(RemoteError):
            await anext(owner.watch(made.id))
        assert (await refusal(lab.ask("GetTrainingJob", training_job_id=job.id))).reason_name == "TRAINING_JOB_NOT_FOUND"
        assert (await refusal(lab.ask("CancelTrainingJob", training_job_id=job.id))).reason_name == "TRAINING_JOB_NOT_FOUND"
        assert [item.id for item in (await lab.ask("ListTrainingJobs")).training_jobs] == [made.id]


async def test_owner_has_a_hundred_trainings_in_hand_at_most(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, described = await mesh.lab(), mesh.datasets.add_set("hum")
        last = await order(lab, described)
        async with open_database(mesh.settings.database_url, schema=SCHEMA) as database, database.transaction() as session:
            for number in range(99):
                await add_kind(session, 1, media_id="", owner="workspace" if number else "user:u")
        await order(lab, described)
        assert (await refusal(order(lab, described))).reason_name == "OVERLOADED"
        await lab.ask("CancelTrainingJob", training_job_id=last.id)
        await order(lab, described)


async def test_pages_are_counted_from_one_newest_first(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, described = await mesh.lab(), mesh.datasets.add_set("hum")
        made = [(await order(lab, described)).id for _ in range(5)]
        pages = [await lab.ask("ListTrainingJobs", page=page, page_size=2) for page in (0, 2, 3, 4)]
        assert [[item.id for item in page.training_jobs] for page in pages] == [made[:2:-1], made[2:0:-1], made[:1], []]
        assert {page.total_size for page in pages} == {5}
        for wrong in ({"page": -1}, {"page_size": 101}, {"page_size": -1}):
            assert (await refusal(lab.ask("ListTrainingJobs", **wrong))).reason_name == "INVALID_FIELD"


async def test_cancelled_training_refuses_its_worker_and_leaves_no_artefact(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        made = await order(lab, mesh.datasets.add_set("hum"))
        taken = await claim(worker, made.id)
        announced, checkpoint, late = (mesh.storage.add_artefact("ws") for _ in range(3))
        await worker.ExtendLease(work_pb.ExtendLeaseRequest(job_id=made.id, fence=taken.fence, transcript_artefact_id=announced))
        await put(worker, made.id, taken.fence, 1, epoch(1, checkpoint=checkpoint))
        cancelled = (await lab.ask("CancelTrainingJob", training_job_id=made.id)).training_job
        assert (cancelled.state, cancelled.HasField("error")) == (states.DETECTION_STATE_CANCELLED, False)
        assert (await refusal(lab.ask("CancelTrainingJob", training_job_id=made.id))).reason_name == "JOB_ALREADY_ENDED"
        assert (await refusal(put(worker, made.id, taken.fence, 2, epoch(2)))).reason_name == "STALE_FENCE"
        await tell(mesh, made.id, taken.fence, late)
        await until(lambda: not mesh.storage.artefacts, "what the training stored stayed")
        assert (await lab.ask("ListDetectors")).total_size == 0


async def test_checkpoints_go_when_the_training_ends_and_the_detector_stays(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        made = await order(lab, mesh.datasets.add_set("hum"))
        taken = await claim(worker, made.id)
        announced, checkpoint, detector = (mesh.storage.add_artefact("ws") for _ in range(3))
        for artefact_id in (announced, detector):
            await worker.ExtendLease(work_pb.ExtendLeaseRequest(job_id=made.id, fence=taken.fence, transcript_artefact_id=artefact_id))
        await put(worker, made.id, taken.fence, 1, epoch(1, checkpoint=checkpoint))
        await put(worker, made.id, taken.fence, 0, trained(detector))
        await tell(mesh, made.id, taken.fence, detector)
        await until(lambda: mesh.storage.artefacts == {("ws", detector)}, "checkpoints stayed, or the detector went")


async def test_overtaken_claim_makes_no_detector(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        made = await order(lab, mesh.datasets.add_set("hum"))
        first = await claim(worker, made.id)
        loser = mesh.storage.add_artefact("ws")
        await put(worker, made.id, first.fence, 0, trained(loser))
        await worker.ReleaseWork(work_pb.ReleaseWorkRequest(job_id=made.id, fence=first.fence))
        second = await claim(worker, made.id, "worker-2")
        await tell(mesh, made.id, first.fence, loser)
        await until(lambda: not mesh.storage.artefacts, "the losing detector stayed")
        winner = mesh.storage.add_artefact("ws")
        await put(worker, made.id, second.fence, 0, trained(winner))
        for event_id in ("once", "again"):
            await tell(mesh, made.id, second.fence, winner, event_id=event_id)
        await until(lambda: completed(lab, made.id))
        assert [item.artefact_id for item in (await lab.ask("ListDetectors")).detectors] == [winner]
        assert ("ws", winner) in mesh.storage.artefacts


async def test_training_told_as_completed_without_its_detector_fails(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        made = await order(lab, mesh.datasets.add_set("hum"))
        taken = await claim(worker, made.id)
        await tell(mesh, made.id, taken.fence, mesh.storage.add_artefact("ws"))

        async def failed() -> bool:
            found = (await lab.ask("GetTrainingJob", training_job_id=made.id)).training_job
            return bool(found.state == states.DETECTION_STATE_FAILED and found.error.reason == "TRAINING_FAILED")

        await until(failed)
        await until(lambda: not mesh.storage.artefacts)


async def test_failed_training_says_why_and_nobody_is_told_to_charge(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker, owner = await mesh.lab(), await mesh.worker(), await mesh.owner()
        made = await order(lab, mesh.datasets.add_set("hum"))
        taken = await claim(worker, made.id)
        await mesh.fail(made.id, taken.fence, retryable=False, reason="TRAINING_FAILED")

        async def failed() -> bool:
            found = (await lab.ask("GetTrainingJob", training_job_id=made.id)).training_job
            return bool(found.state == states.DETECTION_STATE_FAILED and found.error.reason == "TRAINING_FAILED")

        await until(failed)
        job = (await owner.create(mesh.storage.add_media("ws"))).job
        await owner.cancel(job.id)
        await until(lambda: mesh.told_of(JobCancelled, job.id))
        assert not mesh.told_of(JobFailed, made.id)


async def test_windows_that_are_no_epochs_are_refused(stage: StageFactory) -> None:
    async with stage() as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        made = await order(lab, mesh.datasets.add_set("hum"))
        taken = await claim(worker, made.id)
        wrong = [(1, b"\xff\xff"), (0, b"\xff\xff"), (1, epoch(2)), (101, epoch(101)), (1, epoch(1, float("nan")))]
        for index, window in wrong:
            assert (await refusal(put(worker, made.id, taken.fence, index, window))).reason_name == "INVALID_FIELD"
        assert not (await lab.ask("GetTrainingJob", training_job_id=made.id)).training_job.metrics


async def test_new_epoch_gives_the_training_its_attempts_back(stage: StageFactory) -> None:
    async with stage(max_attempts=2) as mesh, mesh.jobs():
        lab, worker = await mesh.lab(), await mesh.worker()
        made = await order(lab, mesh.datasets.add_set("hum"))
        taken = await claim(worker, made.id)
        await put(worker, made.id, taken.fence, 1, epoch(1))
        await mesh.fail(made.id, taken.fence, retryable=True)

        async def pending() -> bool:
            found = (await lab.ask("GetTrainingJob", training_job_id=made.id)).training_job
            return bool(found.state == states.DETECTION_STATE_PENDING)

        await until(pending)
        again = await claim(worker, made.id)
        assert again.job.attempt == 1
        windows = [window.index async for window in worker.ListWindows(work_pb.ListWindowsRequest(job_id=made.id, fence=again.fence))]
        assert windows == [1], "the next claim goes on from the checkpoint"
