"""Versions of a dataset's labels, and the labels in them."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.contracts.relay.rows import annotation_row, set_row
from services.gateway.contracts.relay.schemas import MAX_BULK_BYTES, AnnotationChanges, NewAnnotation, NewAnnotations
from services.gateway.domain import Client
from services.gateway.peers import Peers
from services.gateway.requests import read_id, read_json
from steno.storage.v1 import datasets_service_pb2 as calls
from steno.storage.v1.annotation_set_pb2 import Annotation, AnnotationSet

_PAGE_SIZE = 100
_MAX_SETS = 10_000
# The mesh's words for what the contract calls otherwise.
_FIELDS: Mapping[str, str] = {"start_ms": "start_offset_ms", "end_ms": "end_offset_ms"}


@dataclass(frozen=True)
class AnnotationSets:
    """Drafts of labels, frozen once published."""

    peers: Peers

    async def create(self, request: Request, client: Client) -> Response:
        """201 with an empty draft. Raises Refusal and RemoteError."""
        call = calls.CreateAnnotationSetRequest(dataset_id=read_id(request, "dataset_id"))
        return JSONResponse(set_row((await self.peers.datasets.CreateAnnotationSet(call)).annotation_set), 201)

    async def list_sets(self, request: Request, client: Client) -> Response:
        """Every version of the labels, the newest first. Raises Refusal and RemoteError."""
        found, total = await self._sets(read_id(request, "dataset_id"))
        return JSONResponse({"items": [set_row(each) for each in found], "total": total})

    async def get(self, request: Request, client: Client) -> Response:
        """One version with its labels. Raises Refusal and RemoteError."""
        place = _place(request)
        found = (await self.peers.datasets.GetAnnotationSet(calls.GetAnnotationSetRequest(**place))).annotation_set
        labels = [
            label async for part in self.peers.datasets.ListAnnotations(calls.ListAnnotationsRequest(**place)) for label in part.annotations
        ]
        return await asyncio.to_thread(lambda: JSONResponse({**set_row(found), "annotations": [annotation_row(label) for label in labels]}))

    async def publish(self, request: Request, client: Client) -> Response:
        """The version, frozen. Raises Refusal and RemoteError."""
        answer = await self.peers.datasets.PublishAnnotationSet(calls.PublishAnnotationSetRequest(**_place(request)))
        return JSONResponse(set_row(answer.annotation_set))

    async def delete(self, request: Request, client: Client) -> Response:
        """204 once the draft is gone. Raises Refusal and RemoteError."""
        await self.peers.datasets.DeleteAnnotationSet(calls.DeleteAnnotationSetRequest(**_place(request)))
        return Response(status_code=204)

    async def annotate(self, request: Request, client: Client) -> Response:
        """201 with the new label. Raises Refusal and RemoteError."""
        place = _place(request)
        asked = await read_json(request, NewAnnotation)
        call = calls.CreateAnnotationsRequest(**place, annotations=[_annotation(asked)])
        (made,) = (await self.peers.datasets.CreateAnnotations(call)).annotations
        return JSONResponse(annotation_row(made), 201)

    async def annotate_many(self, request: Request, client: Client) -> Response:
        """201 with all of the new labels. Raises Refusal and RemoteError."""
        place = _place(request)
        asked = await read_json(request, NewAnnotations, MAX_BULK_BYTES)
        call = await asyncio.to_thread(lambda: calls.CreateAnnotationsRequest(**place, annotations=map(_annotation, asked.annotations)))
        made = (await self.peers.datasets.CreateAnnotations(call)).annotations
        return await asyncio.to_thread(lambda: JSONResponse({"created": len(made), "annotations": list(map(annotation_row, made))}, 201))

    async def update_annotation(self, request: Request, client: Client) -> Response:
        """The label after its change. Raises Refusal and RemoteError."""
        place, annotation_id = _place(request), read_id(request, "annotation_id")
        asked = await read_json(request, AnnotationChanges)
        changed = _annotation(asked)
        changed.id, changed.annotation_set_id = annotation_id, place["annotation_set_id"]
        mask = FieldMask(paths=sorted(_FIELDS.get(name, name) for name in asked.model_fields_set))
        call = calls.UpdateAnnotationRequest(dataset_id=place["dataset_id"], annotation=changed, update_mask=mask)
        return JSONResponse(annotation_row((await self.peers.datasets.UpdateAnnotation(call)).annotation))

    async def delete_annotation(self, request: Request, client: Client) -> Response:
        """204 once it is gone. Raises Refusal and RemoteError."""
        call = calls.DeleteAnnotationRequest(**_place(request), annotation_id=read_id(request, "annotation_id"))
        await self.peers.datasets.DeleteAnnotation(call)
        return Response(status_code=204)

    async def _sets(self, dataset_id: str) -> tuple[list[AnnotationSet], int]:
        """The newest ten thousand, and how many there are. Raises RemoteError."""
        sets: list[AnnotationSet] = []
        total = 1
        while len(sets) < min(total, _MAX_SETS):
            call = calls.ListAnnotationSetsRequest(dataset_id=dataset_id, page=len(sets) // _PAGE_SIZE + 1, page_size=_PAGE_SIZE)
            found = await self.peers.datasets.ListAnnotationSets(call)
            sets += found.annotation_sets
            total = found.total_size if len(found.annotation_sets) == _PAGE_SIZE else len(sets)
        return sets, total


def _place(request: Request) -> dict[str, str]:
    return {"dataset_id": read_id(request, "dataset_id"), "annotation_set_id": read_id(request, "annotation_set_id")}


def _annotation(asked: NewAnnotation | AnnotationChanges) -> Annotation:
    return Annotation(
        audio_file_id=asked.audio_file_id,
        artifact_type=asked.artifact_type,
        start_offset_ms=asked.start_ms,
        end_offset_ms=asked.end_ms,
        confidence=asked.confidence,
        extra_data=ParseDict(asked.extra_data, Struct()),
    )
