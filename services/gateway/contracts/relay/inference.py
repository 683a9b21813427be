"""Orders to run a model over files."""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.contracts.relay.paging import page_of
from services.gateway.contracts.relay.rows import FILE_STATUSES, file_row, inference_detail, inference_row
from services.gateway.contracts.relay.schemas import ConfirmedFile, NewFile, NewInference
from services.gateway.domain import Client
from services.gateway.form_uploads import FormUploads
from services.gateway.pages import read_page
from services.gateway.peers import Peers
from services.gateway.requests import read_id, read_json
from steno.jobs.v1 import detection_jobs_service_pb2 as calls
from steno.jobs.v1.detection_job_pb2 import InferenceFile
from steno.jobs.v1.detector_pb2 import InferenceConfig

_MESSAGES = {
    InferenceFile.STATE_QUEUED: "The file has arrived and waits for a worker.",
    InferenceFile.STATE_PROCESSING: "The file is at work.",
    InferenceFile.STATE_COMPLETED: "The file is completed.",
}


@dataclass(frozen=True)
class Inference:
    """Runs models over files. confirm_seconds: within which posted bytes are probed."""

    peers: Peers
    uploads: FormUploads
    confirm_seconds: float

    async def create(self, request: Request, client: Client) -> Response:
        """201 with an order that has no files yet. Raises Refusal and RemoteError."""
        asked = await read_json(request, NewInference)
        call = calls.CreateInferenceJobRequest(model_id=asked.model_id, config=InferenceConfig(**asked.config.model_dump()))
        return JSONResponse(inference_row((await self.peers.detection_jobs.CreateInferenceJob(call)).inference_job), 201)

    async def list_page(self, request: Request, client: Client) -> Response:
        """A page of orders without their files. Raises Refusal and RemoteError."""
        page = read_page(request, "page_size")
        call = calls.ListInferenceJobsRequest(page=page.number, page_size=page.size)
        found = await self.peers.detection_jobs.ListInferenceJobs(call)
        return page_of(page, [inference_row(each) for each in found.inference_jobs], found.total_size)

    async def get(self, request: Request, client: Client) -> Response:
        """One order with its files and what was found in them. Raises Refusal and RemoteError."""
        call = calls.GetInferenceJobRequest(inference_job_id=read_id(request, "inference_job_id"))
        job = (await self.peers.detection_jobs.GetInferenceJob(call)).inference_job
        return await asyncio.to_thread(lambda: JSONResponse(inference_detail(job)))

    async def cancel(self, request: Request, client: Client) -> Response:
        """The order, ended. Raises Refusal and RemoteError."""
        call = calls.CancelInferenceJobRequest(inference_job_id=read_id(request, "inference_job_id"))
        return JSONResponse(inference_row((await self.peers.detection_jobs.CancelInferenceJob(call)).inference_job))

    async def announce_file(self, request: Request, client: Client) -> Response:
        """Where and how the bytes are posted. Raises Refusal and RemoteError."""
        job_id = read_id(request, "inference_job_id")
        asked = await read_json(request, NewFile)
        call = calls.BeginInferenceFileRequest(
            inference_job_id=job_id, filename=asked.filename, content_type=asked.content_type, size_bytes=asked.file_size
        )
        answer = await self.peers.detection_jobs.BeginInferenceFile(call)
        return JSONResponse({**self.uploads.form_row(request, answer.upload_form), "file_id": answer.file.id})

    async def confirm_file(self, request: Request, client: Client) -> Response:
        """What became of the posted bytes. Raises Refusal and RemoteError."""
        job_id = read_id(request, "inference_job_id")
        asked = await read_json(request, ConfirmedFile)
        call = calls.ConfirmInferenceFileRequest(inference_job_id=job_id, file_id=asked.file_id)
        file = (await self.peers.detection_jobs.ConfirmInferenceFile(call, timeout=self.confirm_seconds)).file
        return JSONResponse({"file_id": file.id, "status": FILE_STATUSES[file.state], "message": _message(file)})

    async def get_file(self, request: Request, client: Client) -> Response:
        """One file with what was found in it. Raises Refusal and RemoteError."""
        call = calls.GetInferenceFileRequest(inference_job_id=read_id(request, "inference_job_id"), file_id=read_id(request, "file_id"))
        file = (await self.peers.detection_jobs.GetInferenceFile(call)).file
        return await asyncio.to_thread(lambda: JSONResponse(file_row(file)))

    async def download_file(self, request: Request, client: Client) -> Response:
        """Where the file can be read from for a while. Raises Refusal and RemoteError."""
        call = calls.SignInferenceFileUrlRequest(inference_job_id=read_id(request, "inference_job_id"), file_id=read_id(request, "file_id"))
        answer = await self.peers.detection_jobs.SignInferenceFileUrl(call)
        return JSONResponse(self.uploads.download_row(request, answer.download_url))


def _message(file: InferenceFile) -> str:
    return _MESSAGES.get(file.state) or file.error.message or file.error.reason
