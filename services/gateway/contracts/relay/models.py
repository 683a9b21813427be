"""Trained models."""

from dataclasses import dataclass

from google.protobuf.field_mask_pb2 import FieldMask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.contracts.relay.paging import page_of
from services.gateway.contracts.relay.rows import model_row
from services.gateway.contracts.relay.schemas import ModelChanges
from services.gateway.domain import Client, Reason, Refusal
from services.gateway.pages import read_page
from services.gateway.peers import Peers
from services.gateway.requests import read_id, read_json, read_query
from steno.jobs.v1 import detection_jobs_service_pb2 as calls
from steno.jobs.v1.detector_pb2 import Detector

_BOOLEANS = {"true": True, "false": False, "": None}


@dataclass(frozen=True)
class Models:
    """What trainings made."""

    peers: Peers

    async def list_page(self, request: Request, client: Client) -> Response:
        """A page of models. Raises Refusal and RemoteError."""
        page, is_active = read_page(request, "page_size"), _is_active(request)
        call = calls.ListDetectorsRequest(page=page.number, page_size=page.size, is_active=is_active)
        found = await self.peers.detection_jobs.ListDetectors(call)
        return page_of(page, [model_row(each) for each in found.detectors], found.total_size)

    async def get(self, request: Request, client: Client) -> Response:
        """One model. Raises Refusal and RemoteError."""
        call = calls.GetDetectorRequest(model_id=read_id(request, "model_id"))
        return JSONResponse(model_row((await self.peers.detection_jobs.GetDetector(call)).detector))

    async def update(self, request: Request, client: Client) -> Response:
        """The model after its change. Raises Refusal and RemoteError."""
        model_id = read_id(request, "model_id")
        asked = await read_json(request, ModelChanges)
        changed = Detector(id=model_id, name=asked.name, description=asked.description or "", is_active=asked.is_active)
        call = calls.UpdateDetectorRequest(detector=changed, update_mask=FieldMask(paths=sorted(asked.model_fields_set)))
        return JSONResponse(model_row((await self.peers.detection_jobs.UpdateDetector(call)).detector))

    async def delete(self, request: Request, client: Client) -> Response:
        """204 once it is gone. Raises Refusal and RemoteError."""
        await self.peers.detection_jobs.DeleteDetector(calls.DeleteDetectorRequest(model_id=read_id(request, "model_id")))
        return Response(status_code=204)


def _is_active(request: Request) -> bool | None:
    """Which models are asked for; None for all. Raises Refusal."""
    text = read_query(request, "is_active", "").lower()
    if text not in _BOOLEANS:
        raise Refusal(Reason.BAD_REQUEST, "is_active is true or false.")
    return _BOOLEANS[text]
