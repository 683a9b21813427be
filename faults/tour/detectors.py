"""Deeds of those who have detectors: asked for inside of the mesh, and worked on by the deed itself."""

import asyncio
import json

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from faults.checker.evidence import ENDED
from faults.snapshot import read_table
from faults.tour.visitor import FOLLOW_SECONDS, Visitor, long_silence
from services.mesh.bus import open_bus
from services.mesh.channel import Channel
from services.mesh.ids import new_id
from services.mesh.streams import event_subject
from steno.inference.v1.checkpoints_pb2 import TrainedDetector
from steno.inference.v1.inference_events_pb2 import DetectionCompleted, TrainingCompleted
from steno.jobs.v1 import detection_jobs_service_pb2 as pb
from steno.jobs.v1.detection_jobs_service_pb2_grpc import DetectionJobsServiceAsyncStub
from steno.jobs.v1.detector_pb2 import Detector, TrainingConfig
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.work_service_pb2 import ClaimWorkRequest, PutWindowRequest
from steno.jobs.v1.work_service_pb2_grpc import WorkServiceAsyncStub
from steno.storage.v1 import datasets_service_pb2 as datasets
from steno.storage.v1.annotation_set_pb2 import Annotation
from steno.storage.v1.dataset_pb2 import ArtifactType, DatasetAudio
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceAsyncStub

_SECONDS = 310
_TYPE = "hum"


class Detectors(Visitor):
    """Trainings, detectors and inference orders of the first workspace."""

    def training_cancelled(self) -> None:
        """A training that is ordered and ended."""

        async def cancel(channel: Channel, training_id: str) -> None:
            await DetectionJobsServiceAsyncStub(channel).CancelTrainingJob(pb.CancelTrainingJobRequest(training_job_id=training_id))

        training_id = self._training()
        self.operate("jobs", lambda channel: cancel(channel, training_id), "gateway")

    def end_trainings(self) -> None:
        """End those that a broken-off deed left: here nobody else works on them."""

        async def cancel(channel: Channel) -> bool:
            stub, rows = DetectionJobsServiceAsyncStub(channel), read_table(self.trial.world.stores, "jobs", "job")
            left = [str(row["id"]) for row in rows if row["kind"] == Job.KIND_TRAINING and row["state"] not in ENDED]
            for training_id in left:
                await stub.CancelTrainingJob(pb.CancelTrainingJobRequest(training_job_id=training_id))
            return not left

        self.until(lambda: self.operate("jobs", cancel, "gateway"))

    def detector(self) -> str:
        """A training that is worked on to its end; the id of its detector, empty when a worker was faster."""
        training_id, artefact_id = self._training(), new_id()

        async def work(channel: Channel) -> int:
            worker = WorkServiceAsyncStub(channel)
            claim = await worker.ClaimWork(ClaimWorkRequest(job_id=training_id, worker_id=self.new_key()))
            window = TrainedDetector(detector_artefact_id=artefact_id).SerializeToString()
            await worker.PutWindow(PutWindowRequest(job_id=training_id, fence=claim.fence, index=0, window=window))
            return claim.fence

        fence = self.operate("jobs", work, "inference")
        workspace_id = self.trial.world.mesh.ready["workspace_id"]
        result = TrainingCompleted(job_id=training_id, fence=fence, workspace_id=workspace_id, detector_artefact_id=artefact_id)
        self._tell(result)
        found: list[str] = []

        async def read(channel: Channel) -> str:
            request = pb.GetTrainingJobRequest(training_job_id=training_id)
            return str((await DetectionJobsServiceAsyncStub(channel).GetTrainingJob(request)).training_job.model_id)

        def is_made() -> bool:
            found[:] = [self.operate("jobs", read, "gateway")]
            return bool(found[0])

        self.until(is_made)
        return found[0]

    def detected(self) -> None:
        """A detector that is switched, run over a file that never comes, and deleted."""
        detector_id = self.detector()

        async def use(channel: Channel) -> str:
            stub, mask = DetectionJobsServiceAsyncStub(channel), FieldMask(paths=["is_active"])
            detector = Detector(id=detector_id, is_active=True)
            await stub.UpdateDetector(pb.UpdateDetectorRequest(detector=detector, update_mask=mask))
            order_id: str = (await stub.CreateInferenceJob(pb.CreateInferenceJobRequest(model_id=detector_id))).inference_job.id
            request = pb.BeginInferenceFileRequest(inference_job_id=order_id, filename="a.wav", content_type="audio/wav", size_bytes=1000)
            begun = await stub.BeginInferenceFile(request)
            await stub.CancelInferenceJob(pb.CancelInferenceJobRequest(inference_job_id=order_id))
            await stub.DeleteDetector(pb.DeleteDetectorRequest(model_id=detector_id))
            return str(begun.file.id)

        self.operate("jobs", use, "gateway")

    def detections_told(self) -> None:
        """Detections of a file that nobody announced."""
        self._tell(DetectionCompleted(job_id=new_id(), fence=1, workspace_id=self.trial.world.mesh.ready["workspace_id"]))
        self.client.pause(2.0)

    def _tell(self, result: Message) -> None:
        config = json.loads((self.trial.world.mesh.data / "nats.conf").read_text())

        async def publish(_: Channel) -> None:
            async with open_bus(f"nats://127.0.0.1:{config['port']}", name="tour") as bus:
                await bus.publish(event_subject("inference", type(result)), result, event_id=new_id())

        self.operate("jobs", publish)

    def _training(self) -> str:
        """A new training; its id."""
        dataset_id, set_id = self._labelled()

        async def create(channel: Channel) -> str:
            config = TrainingConfig(artifact_types=[_TYPE], epochs=1)
            request = pb.CreateTrainingJobRequest(dataset_id=dataset_id, annotation_set_id=set_id, config=config)
            return str((await DetectionJobsServiceAsyncStub(channel).CreateTrainingJob(request)).training_job.id)

        return self.operate("jobs", create, "gateway")

    def _labelled(self) -> tuple[str, str]:
        """A dataset of more than five minutes of silence with a published set; made once."""
        if self.labelled is None:
            media_id = self._media()
            self.labelled = self.operate("storage", lambda channel: self._label(channel, media_id), "gateway")
        return self.labelled

    async def _label(self, channel: Channel, media_id: str) -> tuple[str, str]:
        stub = DatasetsServiceAsyncStub(channel)
        made = await stub.CreateDataset(datasets.CreateDatasetRequest(name="tour", artifact_types=[ArtifactType(name=_TYPE)]))
        dataset_id = made.dataset.id
        imported = await stub.ImportAudio(datasets.ImportAudioRequest(dataset_id=dataset_id, media_id=media_id))
        asked = datasets.GetAudioRequest(dataset_id=dataset_id, audio_id=imported.audio.id)
        for _ in range(int(FOLLOW_SECONDS)):
            if (await stub.GetAudio(asked)).audio.state == DatasetAudio.STATE_READY:
                break
            await asyncio.sleep(1.0)
        drafted = (await stub.CreateAnnotationSet(datasets.CreateAnnotationSetRequest(dataset_id=dataset_id))).annotation_set
        label = Annotation(audio_file_id=imported.audio.id, artifact_type=_TYPE, start_offset_ms=1000, end_offset_ms=2000, confidence=1.0)
        place = {"dataset_id": dataset_id, "annotation_set_id": drafted.id}
        await stub.CreateAnnotations(datasets.CreateAnnotationsRequest(**place, annotations=[label]))
        await stub.PublishAnnotationSet(datasets.PublishAnnotationSetRequest(**place))
        return dataset_id, drafted.id

    def _media(self) -> str:
        """Media of a job over a long silence."""
        job_id = self.client.submit(long_silence(self.trial, _SECONDS), self.new_key()).job_id
        rows = read_table(self.trial.world.stores, "jobs", "job")
        return next(str(row["media_id"]) for row in rows if row["id"] == job_id)
