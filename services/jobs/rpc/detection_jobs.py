"""DetectionJobsService: messages in, use cases, messages out."""

from typing import Any

import grpc

from services.jobs.usecases import detectors, inference_files, inference_orders, trainings
from services.jobs.usecases.resources import Resources
from services.mesh.identity import current_caller
from steno.jobs.v1 import detection_jobs_service_pb2 as pb
from steno.jobs.v1.detection_jobs_service_pb2_grpc import DetectionJobsServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class DetectionJobsRpc(DetectionJobsServiceServicer):
    """Trainings, detectors and inference orders as their owners see them."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def CreateTrainingJob(self, request: pb.CreateTrainingJobRequest, context: Context) -> pb.CreateTrainingJobResponse:
        return pb.CreateTrainingJobResponse(training_job=await trainings.create_training(self._resources, current_caller(), request))

    async def GetTrainingJob(self, request: pb.GetTrainingJobRequest, context: Context) -> pb.GetTrainingJobResponse:
        found = await trainings.get_training(self._resources, current_caller(), request.training_job_id)
        return pb.GetTrainingJobResponse(training_job=found)

    async def ListTrainingJobs(self, request: pb.ListTrainingJobsRequest, context: Context) -> pb.ListTrainingJobsResponse:
        found, total = await trainings.list_page(self._resources, current_caller(), request.page, request.page_size)
        return pb.ListTrainingJobsResponse(training_jobs=found, total_size=total)

    async def CancelTrainingJob(self, request: pb.CancelTrainingJobRequest, context: Context) -> pb.CancelTrainingJobResponse:
        ended = await trainings.cancel_training(self._resources, current_caller(), request.training_job_id)
        return pb.CancelTrainingJobResponse(training_job=ended)

    async def GetDetector(self, request: pb.GetDetectorRequest, context: Context) -> pb.GetDetectorResponse:
        return pb.GetDetectorResponse(detector=await detectors.get_detector(self._resources, current_caller(), request.model_id))

    async def ListDetectors(self, request: pb.ListDetectorsRequest, context: Context) -> pb.ListDetectorsResponse:
        found, total = await detectors.list_page(self._resources, current_caller(), request)
        return pb.ListDetectorsResponse(detectors=found, total_size=total)

    async def UpdateDetector(self, request: pb.UpdateDetectorRequest, context: Context) -> pb.UpdateDetectorResponse:
        return pb.UpdateDetectorResponse(detector=await detectors.update_detector(self._resources, current_caller(), request))

    async def DeleteDetector(self, request: pb.DeleteDetectorRequest, context: Context) -> pb.DeleteDetectorResponse:
        await detectors.remove_detector(self._resources, current_caller(), request.model_id)
        return pb.DeleteDetectorResponse()

    async def CreateInferenceJob(self, request: pb.CreateInferenceJobRequest, context: Context) -> pb.CreateInferenceJobResponse:
        return pb.CreateInferenceJobResponse(inference_job=await inference_orders.create_order(self._resources, current_caller(), request))

    async def GetInferenceJob(self, request: pb.GetInferenceJobRequest, context: Context) -> pb.GetInferenceJobResponse:
        found = await inference_orders.get_order(self._resources, current_caller(), request.inference_job_id)
        return pb.GetInferenceJobResponse(inference_job=found)

    async def ListInferenceJobs(self, request: pb.ListInferenceJobsRequest, context: Context) -> pb.ListInferenceJobsResponse:
        found, total = await inference_orders.list_page(self._resources, current_caller(), request.page, request.page_size)
        return pb.ListInferenceJobsResponse(inference_jobs=found, total_size=total)

    async def CancelInferenceJob(self, request: pb.CancelInferenceJobRequest, context: Context) -> pb.CancelInferenceJobResponse:
        ended = await inference_orders.cancel_order(self._resources, current_caller(), request.inference_job_id)
        return pb.CancelInferenceJobResponse(inference_job=ended)

    async def BeginInferenceFile(self, request: pb.BeginInferenceFileRequest, context: Context) -> pb.BeginInferenceFileResponse:
        file, form = await inference_files.begin_file(self._resources, current_caller(), request)
        return pb.BeginInferenceFileResponse(file=file, upload_form=form)

    async def ConfirmInferenceFile(self, request: pb.ConfirmInferenceFileRequest, context: Context) -> pb.ConfirmInferenceFileResponse:
        caller = current_caller()
        file = await inference_files.confirm_file(self._resources, caller, request.inference_job_id, request.file_id)
        return pb.ConfirmInferenceFileResponse(file=file)

    async def GetInferenceFile(self, request: pb.GetInferenceFileRequest, context: Context) -> pb.GetInferenceFileResponse:
        caller = current_caller()
        file = await inference_files.get_file(self._resources, caller, request.inference_job_id, request.file_id)
        return pb.GetInferenceFileResponse(file=file)

    async def SignInferenceFileUrl(self, request: pb.SignInferenceFileUrlRequest, context: Context) -> pb.SignInferenceFileUrlResponse:
        caller = current_caller()
        url = await inference_files.sign_file_url(self._resources, caller, request.inference_job_id, request.file_id)
        return pb.SignInferenceFileUrlResponse(download_url=url)
