"""Orders to train a model."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.contracts.relay.paging import page_of
from services.gateway.contracts.relay.rows import training_row
from services.gateway.contracts.relay.schemas import NewTraining
from services.gateway.domain import Client
from services.gateway.pages import read_page
from services.gateway.peers import Peers
from services.gateway.requests import read_id, read_json
from steno.jobs.v1 import detection_jobs_service_pb2 as calls
from steno.jobs.v1.detector_pb2 import TrainingConfig


@dataclass(frozen=True)
class Training:
    """Trains models on published labels."""

    peers: Peers

    async def create(self, request: Request, client: Client) -> Response:
        """201 with the order. Raises Refusal and RemoteError."""
        asked = await read_json(request, NewTraining)
        config = TrainingConfig(**asked.config.model_dump())
        call = calls.CreateTrainingJobRequest(dataset_id=asked.dataset_id, annotation_set_id=asked.annotation_set_id, config=config)
        return JSONResponse(training_row((await self.peers.detection_jobs.CreateTrainingJob(call)).training_job), 201)

    async def list_page(self, request: Request, client: Client) -> Response:
        """A page of orders. Raises Refusal and RemoteError."""
        page = read_page(request, "page_size")
        call = calls.ListTrainingJobsRequest(page=page.number, page_size=page.size)
        found = await self.peers.detection_jobs.ListTrainingJobs(call)
        return page_of(page, [training_row(each) for each in found.training_jobs], found.total_size)

    async def get(self, request: Request, client: Client) -> Response:
        """One order with its progress. Raises Refusal and RemoteError."""
        call = calls.GetTrainingJobRequest(training_job_id=read_id(request, "training_job_id"))
        return JSONResponse(training_row((await self.peers.detection_jobs.GetTrainingJob(call)).training_job))

    async def cancel(self, request: Request, client: Client) -> Response:
        """The order, ended. Raises Refusal and RemoteError."""
        call = calls.CancelTrainingJobRequest(training_job_id=read_id(request, "training_job_id"))
        return JSONResponse(training_row((await self.peers.detection_jobs.CancelTrainingJob(call)).training_job))
