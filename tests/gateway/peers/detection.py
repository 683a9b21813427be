"""Trainings, models, and orders to run them."""

from typing import Any

from services.mesh.errors import FailedPrecondition, NotFound
from services.mesh.identity import current_caller
from services.mesh.ids import new_id
from steno.jobs.v1 import detection_job_pb2 as orders
from steno.jobs.v1 import detection_jobs_service_pb2 as calls
from steno.jobs.v1 import detection_jobs_service_pb2_grpc as detection_grpc
from steno.jobs.v1.detection_job_pb2 import InferenceFile, InferenceJob, TrainingJob
from steno.jobs.v1.detector_pb2 import Detector
from tests.gateway.peers.datasets import change, form_of, page_of, signed_read
from tests.gateway.peers.jobs import JobAlreadyEnded
from tests.gateway.peers.storage import UploadIncomplete
from tests.gateway.peers.world import World

_ENDED = (orders.DETECTION_STATE_COMPLETED, orders.DETECTION_STATE_FAILED, orders.DETECTION_STATE_CANCELLED)


class TrainingJobNotFound(NotFound):
    """No such training."""


class ModelNotFound(NotFound):
    """No such model."""


class InferenceJobNotFound(NotFound):
    """No such order."""


class FileNotFound(NotFound):
    """No such file."""


class ModelInactive(FailedPrecondition):
    """Switched off."""


class DetectionJobsPeer(detection_grpc.DetectionJobsServiceServicer):
    """Trainings, models and orders in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _fail(self) -> None:
        """Whatever a test wants refused."""
        if self.world.detection_failures:
            raise self.world.detection_failures.pop(0)

    def _mine(self, rows: dict[str, Any], row_id: str, missing: type[NotFound]) -> Any:
        self._fail()
        if self.world.owners.get(row_id) != (current_caller().workspace_id, current_caller().owner):
            raise missing
        return rows[row_id]

    def _all(self, rows: dict[str, Any]) -> list[Any]:
        self._fail()
        mine = (current_caller().workspace_id, current_caller().owner)
        return [row for row in rows.values() if self.world.owners[row.id] == mine]

    def _keep(self, rows: dict[str, Any], row: Any) -> Any:
        caller = current_caller()
        row.id, row.workspace_id = new_id(), caller.workspace_id
        row.create_time.GetCurrentTime()
        self.world.owners[row.id] = (caller.workspace_id, caller.owner)
        rows[row.id] = row
        return row

    async def CreateTrainingJob(self, request: Any, context: Any) -> calls.CreateTrainingJobResponse:
        self._fail()
        job = TrainingJob(dataset_id=request.dataset_id, annotation_set_id=request.annotation_set_id, config=request.config)
        job.state = orders.DETECTION_STATE_PENDING
        return calls.CreateTrainingJobResponse(training_job=self._keep(self.world.trainings, job))

    async def GetTrainingJob(self, request: Any, context: Any) -> calls.GetTrainingJobResponse:
        return calls.GetTrainingJobResponse(training_job=self._mine(self.world.trainings, request.training_job_id, TrainingJobNotFound))

    async def ListTrainingJobs(self, request: Any, context: Any) -> calls.ListTrainingJobsResponse:
        mine = self._all(self.world.trainings)
        return calls.ListTrainingJobsResponse(training_jobs=page_of(mine, request), total_size=len(mine))

    async def CancelTrainingJob(self, request: Any, context: Any) -> calls.CancelTrainingJobResponse:
        job = self._mine(self.world.trainings, request.training_job_id, TrainingJobNotFound)
        return calls.CancelTrainingJobResponse(training_job=_cancelled(job))

    async def GetDetector(self, request: Any, context: Any) -> calls.GetDetectorResponse:
        return calls.GetDetectorResponse(detector=self._detector(request.model_id))

    def _detector(self, model_id: str) -> Detector:
        found: Detector = self._mine(self.world.detectors, model_id, ModelNotFound)
        return found

    async def ListDetectors(self, request: Any, context: Any) -> calls.ListDetectorsResponse:
        mine = self._all(self.world.detectors)
        if request.HasField("is_active"):
            mine = [each for each in mine if each.is_active == request.is_active]
        return calls.ListDetectorsResponse(detectors=page_of(mine, request), total_size=len(mine))

    async def UpdateDetector(self, request: Any, context: Any) -> calls.UpdateDetectorResponse:
        detector = self._detector(request.detector.id)
        change(detector, request, request.detector)
        return calls.UpdateDetectorResponse(detector=detector)

    async def DeleteDetector(self, request: Any, context: Any) -> calls.DeleteDetectorResponse:
        del self.world.owners[self._detector(request.model_id).id]
        del self.world.detectors[request.model_id]
        return calls.DeleteDetectorResponse()

    async def CreateInferenceJob(self, request: Any, context: Any) -> calls.CreateInferenceJobResponse:
        if not self._detector(request.model_id).is_active:
            raise ModelInactive
        job = InferenceJob(model_id=request.model_id, config=request.config, state=orders.DETECTION_STATE_PENDING)
        return calls.CreateInferenceJobResponse(inference_job=self._keep(self.world.inferences, job))

    def _order(self, request: Any) -> InferenceJob:
        found: InferenceJob = self._mine(self.world.inferences, request.inference_job_id, InferenceJobNotFound)
        return found

    async def GetInferenceJob(self, request: Any, context: Any) -> calls.GetInferenceJobResponse:
        return calls.GetInferenceJobResponse(inference_job=self._order(request))

    async def ListInferenceJobs(self, request: Any, context: Any) -> calls.ListInferenceJobsResponse:
        mine = self._all(self.world.inferences)
        return calls.ListInferenceJobsResponse(inference_jobs=page_of(mine, request), total_size=len(mine))

    async def CancelInferenceJob(self, request: Any, context: Any) -> calls.CancelInferenceJobResponse:
        return calls.CancelInferenceJobResponse(inference_job=_cancelled(self._order(request)))

    async def BeginInferenceFile(self, request: Any, context: Any) -> calls.BeginInferenceFileResponse:
        job = self._order(request)
        file = InferenceFile(id=new_id(), inference_job_id=job.id, media_id=new_id(), original_filename=request.filename)
        file.state = InferenceFile.STATE_PENDING
        job.files.append(file)
        job.file_count += 1
        return calls.BeginInferenceFileResponse(file=file, upload_form=form_of(self.world, file.media_id))

    def _file(self, request: Any) -> InferenceFile:
        for file in self._order(request).files:
            if file.id == request.file_id:
                return file
        raise FileNotFound

    async def ConfirmInferenceFile(self, request: Any, context: Any) -> calls.ConfirmInferenceFileResponse:
        file = self._file(request)
        if file.media_id not in self.world.complete:
            raise UploadIncomplete
        file.state = InferenceFile.STATE_QUEUED
        if bytes(self.world.blobs[file.media_id]).startswith(b"TEXT"):
            file.state, file.error.reason, file.error.message = InferenceFile.STATE_FAILED, "UNSUPPORTED_MEDIA", "The file is not audio."
        return calls.ConfirmInferenceFileResponse(file=file)

    async def GetInferenceFile(self, request: Any, context: Any) -> calls.GetInferenceFileResponse:
        return calls.GetInferenceFileResponse(file=self._file(request))

    async def SignInferenceFileUrl(self, request: Any, context: Any) -> calls.SignInferenceFileUrlResponse:
        return calls.SignInferenceFileUrlResponse(download_url=signed_read(self.world, self._file(request).media_id))


def _cancelled(job: Any) -> Any:
    if job.state in _ENDED:
        raise JobAlreadyEnded
    job.state = orders.DETECTION_STATE_CANCELLED
    job.complete_time.GetCurrentTime()
    return job
