"""Datasets and their audio."""

from dataclasses import dataclass

from google.protobuf.field_mask_pb2 import FieldMask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.contracts.relay.paging import page_of
from services.gateway.contracts.relay.rows import AUDIO_STATUSES, audio_row, counted_dataset_row, dataset_row
from services.gateway.contracts.relay.schemas import (
    ArtifactTypeFields,
    ConfirmedAudio,
    DatasetChanges,
    NewDataset,
    NewFile,
    SourceJob,
)
from services.gateway.domain import Client, Reason, Refusal
from services.gateway.form_uploads import FormUploads
from services.gateway.pages import read_page
from services.gateway.peers import Peers
from services.gateway.requests import read_id, read_json
from services.mesh.status import RemoteError, is_remote
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import GetJobRequest
from steno.storage.v1 import datasets_service_pb2 as calls
from steno.storage.v1.dataset_pb2 import ArtifactType, Dataset, DatasetAudio

_ENDINGS = {Job.STATE_FAILED: Reason.JOB_FAILED, Job.STATE_CANCELLED: Reason.JOB_CANCELLED}


@dataclass(frozen=True)
class Datasets:
    """Collections of audio to label. confirm_seconds: within which posted bytes are probed."""

    peers: Peers
    uploads: FormUploads
    confirm_seconds: float

    async def create(self, request: Request, client: Client) -> Response:
        """201 with the new dataset. Raises Refusal and RemoteError."""
        asked = await read_json(request, NewDataset)
        types = [_artifact_type(each) for each in asked.artifact_types]
        call = calls.CreateDatasetRequest(name=asked.name, description=asked.description or "", artifact_types=types)
        return JSONResponse(dataset_row((await self.peers.datasets.CreateDataset(call)).dataset), 201)

    async def list_page(self, request: Request, client: Client) -> Response:
        """A page of datasets with their counts. Raises Refusal and RemoteError."""
        page = read_page(request, "page_size")
        found = await self.peers.datasets.ListDatasets(calls.ListDatasetsRequest(page=page.number, page_size=page.size))
        return page_of(page, [counted_dataset_row(each) for each in found.datasets], found.total_size)

    async def get(self, request: Request, client: Client) -> Response:
        """One dataset. Raises Refusal and RemoteError."""
        call = calls.GetDatasetRequest(dataset_id=read_id(request, "dataset_id"))
        return JSONResponse(dataset_row((await self.peers.datasets.GetDataset(call)).dataset))

    async def update(self, request: Request, client: Client) -> Response:
        """The dataset after its change. Raises Refusal and RemoteError."""
        dataset_id = read_id(request, "dataset_id")
        asked = await read_json(request, DatasetChanges)
        types = [_artifact_type(each) for each in asked.artifact_types]
        changed = Dataset(id=dataset_id, name=asked.name, description=asked.description or "", artifact_types=types)
        call = calls.UpdateDatasetRequest(dataset=changed, update_mask=FieldMask(paths=sorted(asked.model_fields_set)))
        return JSONResponse(dataset_row((await self.peers.datasets.UpdateDataset(call)).dataset))

    async def delete(self, request: Request, client: Client) -> Response:
        """204 once it is gone. Raises Refusal and RemoteError."""
        await self.peers.datasets.DeleteDataset(calls.DeleteDatasetRequest(dataset_id=read_id(request, "dataset_id")))
        return Response(status_code=204)

    async def announce_audio(self, request: Request, client: Client) -> Response:
        """Where and how the bytes are posted. Raises Refusal and RemoteError."""
        dataset_id = read_id(request, "dataset_id")
        asked = await read_json(request, NewFile)
        call = calls.BeginAudioRequest(
            dataset_id=dataset_id, filename=asked.filename, content_type=asked.content_type, size_bytes=asked.file_size
        )
        answer = await self.peers.datasets.BeginAudio(call)
        return JSONResponse({**self.uploads.form_row(request, answer.upload_form), "audio_id": answer.audio.id})

    async def confirm_audio(self, request: Request, client: Client) -> Response:
        """What became of the posted bytes. Raises Refusal and RemoteError."""
        dataset_id = read_id(request, "dataset_id")
        asked = await read_json(request, ConfirmedAudio)
        call = calls.ConfirmAudioRequest(dataset_id=dataset_id, audio_id=asked.audio_id)
        audio = (await self.peers.datasets.ConfirmAudio(call, timeout=self.confirm_seconds)).audio
        return JSONResponse({"audio_id": audio.id, "status": AUDIO_STATUSES[audio.state], "message": _message(audio)})

    async def add_transcription(self, request: Request, client: Client) -> Response:
        """201 with the copy of a finished transcription's audio. Raises Refusal and RemoteError."""
        dataset_id = read_id(request, "dataset_id")
        asked = await read_json(request, SourceJob)
        job = (await self.peers.jobs.GetJob(GetJobRequest(job_id=asked.job_id))).job
        if job.state != Job.STATE_DONE:
            raise Refusal(_ENDINGS.get(job.state, Reason.NOT_READY))
        return JSONResponse(audio_row(await self._import(dataset_id, job.media_id)), 201)

    async def list_audio(self, request: Request, client: Client) -> Response:
        """A page of audio files. Raises Refusal and RemoteError."""
        dataset_id, page = read_id(request, "dataset_id"), read_page(request, "page_size")
        call = calls.ListAudioRequest(dataset_id=dataset_id, page=page.number, page_size=page.size)
        found = await self.peers.datasets.ListAudio(call)
        return page_of(page, [audio_row(each) for each in found.audio], found.total_size)

    async def get_audio(self, request: Request, client: Client) -> Response:
        """One audio file. Raises Refusal and RemoteError."""
        call = calls.GetAudioRequest(dataset_id=read_id(request, "dataset_id"), audio_id=read_id(request, "audio_id"))
        return JSONResponse(audio_row((await self.peers.datasets.GetAudio(call)).audio))

    async def delete_audio(self, request: Request, client: Client) -> Response:
        """204 once it is gone. Raises Refusal and RemoteError."""
        call = calls.DeleteAudioRequest(dataset_id=read_id(request, "dataset_id"), audio_id=read_id(request, "audio_id"))
        await self.peers.datasets.DeleteAudio(call)
        return Response(status_code=204)

    async def download_audio(self, request: Request, client: Client) -> Response:
        """Where the file can be read from for a while. Raises Refusal and RemoteError."""
        call = calls.SignAudioUrlRequest(dataset_id=read_id(request, "dataset_id"), audio_id=read_id(request, "audio_id"))
        return JSONResponse(self.uploads.download_row(request, (await self.peers.datasets.SignAudioUrl(call)).download_url))

    async def _import(self, dataset_id: str, media_id: str) -> DatasetAudio:
        call = calls.ImportAudioRequest(dataset_id=dataset_id, media_id=media_id)
        try:
            return (await self.peers.datasets.ImportAudio(call)).audio
        except RemoteError as error:
            if is_remote(error, "MEDIA_NOT_FOUND"):
                raise Refusal(Reason.AUDIO_MISSING) from error
            raise


def _artifact_type(asked: ArtifactTypeFields) -> ArtifactType:
    return ArtifactType(name=asked.name, description=asked.description or "", color=asked.color)


def _message(audio: DatasetAudio) -> str:
    if audio.state == DatasetAudio.STATE_FAILED:
        return audio.error_message
    return "The file is ready." if audio.state == DatasetAudio.STATE_READY else "The file has arrived and is being prepared."
