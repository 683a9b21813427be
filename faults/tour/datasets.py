"""A deed of those who collect audio: a dataset from its name to its end."""

import asyncio
from pathlib import Path

import httpx2
from google.protobuf.field_mask_pb2 import FieldMask

from faults.tour.visitor import FOLLOW_SECONDS, Visitor, words
from services.mesh.channel import Channel
from steno.storage.v1 import datasets_service_pb2 as pb
from steno.storage.v1.annotation_set_pb2 import Annotation
from steno.storage.v1.dataset_pb2 import ArtifactType, Dataset, DatasetAudio
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceAsyncStub

_TYPE = "hum"


class Datasets(Visitor):
    """Datasets of the first workspace."""

    def dataset(self) -> None:
        """A dataset that is named, filled with sound, words and a copy, labelled, published and deleted."""
        media_id = str(self.done_job()["media_id"])
        self.operate("storage", lambda channel: self._live(channel, media_id), "gateway")

    async def _live(self, channel: Channel, media_id: str) -> None:
        stub = DatasetsServiceAsyncStub(channel)
        made = (await stub.CreateDataset(pb.CreateDatasetRequest(name="tour", artifact_types=[ArtifactType(name=_TYPE)]))).dataset
        renamed = Dataset(id=made.id, name="renamed")
        await stub.UpdateDataset(pb.UpdateDatasetRequest(dataset=renamed, update_mask=FieldMask(paths=["name"])))
        await stub.ImportAudio(pb.ImportAudioRequest(dataset_id=made.id, media_id=media_id))
        sent = [await self._send(stub, made.id, path) for path in (words(self.trial), self.trial.sounds.silence)]
        await self._prepared(stub, made.id, sent[-1])
        await self._annotate(stub, made.id, sent[-1])
        await stub.DeleteAudio(pb.DeleteAudioRequest(dataset_id=made.id, audio_id=sent[0]))
        await stub.DeleteDataset(pb.DeleteDatasetRequest(dataset_id=made.id))

    async def _send(self, stub: DatasetsServiceAsyncStub, dataset_id: str, path: Path) -> str:
        """The id of a file that was posted and confirmed."""
        content = path.read_bytes()
        announced = pb.BeginAudioRequest(dataset_id=dataset_id, filename=path.name, content_type="audio/wav", size_bytes=len(content))
        begun = await stub.BeginAudio(announced)
        form = begun.upload_form
        async with httpx2.AsyncClient(trust_env=False, timeout=FOLLOW_SECONDS) as http:
            answer = await http.post(form.url, data=dict(form.fields), files={"file": (path.name, content)})
        answer.raise_for_status()
        await stub.ConfirmAudio(pb.ConfirmAudioRequest(dataset_id=dataset_id, audio_id=begun.audio.id))
        return str(begun.audio.id)

    async def _prepared(self, stub: DatasetsServiceAsyncStub, dataset_id: str, audio_id: str) -> None:
        for _ in range(int(FOLLOW_SECONDS)):
            found = await stub.GetAudio(pb.GetAudioRequest(dataset_id=dataset_id, audio_id=audio_id))
            if found.audio.state == DatasetAudio.STATE_READY:
                return
            await asyncio.sleep(1.0)

    async def _annotate(self, stub: DatasetsServiceAsyncStub, dataset_id: str, audio_id: str) -> None:
        drafts = [(await stub.CreateAnnotationSet(pb.CreateAnnotationSetRequest(dataset_id=dataset_id))).annotation_set for _ in range(2)]
        place = {"dataset_id": dataset_id, "annotation_set_id": drafts[0].id}
        label = Annotation(audio_file_id=audio_id, artifact_type=_TYPE, start_offset_ms=0, end_offset_ms=100, confidence=1.0)
        added = (await stub.CreateAnnotations(pb.CreateAnnotationsRequest(**place, annotations=[label, label]))).annotations
        changed = Annotation(id=added[0].id, annotation_set_id=drafts[0].id, confidence=0.5)
        mask = FieldMask(paths=["confidence"])
        await stub.UpdateAnnotation(pb.UpdateAnnotationRequest(dataset_id=dataset_id, annotation=changed, update_mask=mask))
        await stub.DeleteAnnotation(pb.DeleteAnnotationRequest(**place, annotation_id=added[1].id))
        await stub.PublishAnnotationSet(pb.PublishAnnotationSetRequest(**place))
        await stub.DeleteAnnotationSet(pb.DeleteAnnotationSetRequest(dataset_id=dataset_id, annotation_set_id=drafts[1].id))
