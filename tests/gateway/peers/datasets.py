"""Datasets, their audio and their labels."""

from collections.abc import AsyncIterator
from typing import Any

from services.mesh.errors import FailedPrecondition, InvalidArgument, NotFound
from services.mesh.identity import current_caller
from services.mesh.ids import new_id
from steno.storage.v1 import datasets_service_pb2 as calls
from steno.storage.v1 import datasets_service_pb2_grpc as datasets_grpc
from steno.storage.v1.annotation_set_pb2 import Annotation, AnnotationSet
from steno.storage.v1.dataset_pb2 import Dataset, DatasetAudio
from steno.storage.v1.media_pb2 import SignedUrl, UploadForm
from tests.gateway.peers.storage import MediaNotFound, UploadIncomplete
from tests.gateway.peers.world import World

FORM_SECONDS = 3600
DOWNLOAD_SECONDS = 600
_PART = 2


class DatasetNotFound(NotFound):
    """No such dataset."""


class AudioNotFound(NotFound):
    """No such file."""


class AnnotationSetNotFound(NotFound):
    """No such set."""


class AnnotationNotFound(NotFound):
    """No such annotation."""


class AnnotationSetPublished(FailedPrecondition):
    """Frozen."""


class AnnotationSetEmpty(FailedPrecondition):
    """Nothing in it."""


class UnknownArtifactType(InvalidArgument):
    """Not declared."""


def form_of(world: World, media_id: str) -> UploadForm:
    """How the bytes of announced media are posted: to a bucket when there is one, else to the data plane."""
    form = UploadForm(url=world.bucket_url or f"{world.data_url}/forms", fields={"key": media_id, "signature": "a"})
    form.expire_time.GetCurrentTime()
    form.expire_time.seconds += FORM_SECONDS
    return form


def signed_read(world: World, media_id: str) -> SignedUrl:
    """A URL to read media from."""
    url = SignedUrl(url=f"{world.data_url}/media/{media_id}?expires=1&signature=a", store="disk")
    if world.bucket_url:
        url = SignedUrl(url=f"{world.bucket_url}/{media_id}?signature=a", store="recordings")
    url.expire_time.GetCurrentTime()
    url.expire_time.seconds += DOWNLOAD_SECONDS
    return url


def page_of(rows: list[Any], request: Any) -> list[Any]:
    """The asked page, newest first."""
    newest = sorted(rows, key=lambda row: row.id, reverse=True)
    return newest[(request.page - 1) * request.page_size :][: request.page_size]


def change(stored: Any, request: Any, changed: Any) -> None:
    """What an update mask names; nothing is left of it where the new value is empty."""
    for name in request.update_mask.paths:
        stored.ClearField(name)
    masked = type(stored)()
    request.update_mask.MergeMessage(changed, masked)
    stored.MergeFrom(masked)


class DatasetsPeer(datasets_grpc.DatasetsServiceServicer):
    """Datasets in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _mine(self, dataset_id: str) -> Dataset:
        """The caller's dataset; first comes whatever a test wants refused."""
        if self.world.detection_failures:
            raise self.world.detection_failures.pop(0)
        owner = self.world.owners.get(dataset_id)
        if owner != (current_caller().workspace_id, current_caller().owner):
            raise DatasetNotFound
        return self.world.datasets[dataset_id]

    def _audio(self, request: Any) -> DatasetAudio:
        self._mine(request.dataset_id)
        found = self.world.audio.get(request.audio_id)
        if found is None or found.dataset_id != request.dataset_id:
            raise AudioNotFound
        return found

    def _set(self, request: Any, *, draft: bool = False) -> AnnotationSet:
        self._mine(request.dataset_id)
        set_id = request.annotation.annotation_set_id if hasattr(request, "annotation") else request.annotation_set_id
        found = self.world.sets.get(set_id)
        if found is None or found.dataset_id != request.dataset_id:
            raise AnnotationSetNotFound
        if draft and found.state == AnnotationSet.STATE_PUBLISHED:
            raise AnnotationSetPublished
        return found

    async def CreateDataset(self, request: Any, context: Any) -> calls.CreateDatasetResponse:
        if self.world.detection_failures:
            raise self.world.detection_failures.pop(0)
        caller = current_caller()
        dataset = Dataset(id=new_id(), workspace_id=caller.workspace_id, name=request.name, description=request.description)
        dataset.artifact_types.extend(request.artifact_types)
        dataset.create_time.GetCurrentTime()
        dataset.update_time.CopyFrom(dataset.create_time)
        self.world.datasets[dataset.id] = dataset
        self.world.owners[dataset.id] = (caller.workspace_id, caller.owner)
        return calls.CreateDatasetResponse(dataset=dataset)

    async def GetDataset(self, request: Any, context: Any) -> calls.GetDatasetResponse:
        return calls.GetDatasetResponse(dataset=self._counted(self._mine(request.dataset_id)))

    async def ListDatasets(self, request: Any, context: Any) -> calls.ListDatasetsResponse:
        caller = current_caller()
        mine = [each for each in self.world.datasets.values() if self.world.owners[each.id] == (caller.workspace_id, caller.owner)]
        page = [self._counted(each) for each in page_of(mine, request)]
        return calls.ListDatasetsResponse(datasets=page, total_size=len(mine))

    def _counted(self, dataset: Dataset) -> Dataset:
        dataset.audio_count = len(self._audio_of(dataset.id))
        dataset.annotation_set_count = sum(each.dataset_id == dataset.id for each in self.world.sets.values())
        return dataset

    def _audio_of(self, dataset_id: str) -> list[DatasetAudio]:
        return [each for each in self.world.audio.values() if each.dataset_id == dataset_id]

    async def UpdateDataset(self, request: Any, context: Any) -> calls.UpdateDatasetResponse:
        dataset = self._mine(request.dataset.id)
        change(dataset, request, request.dataset)
        return calls.UpdateDatasetResponse(dataset=dataset)

    async def DeleteDataset(self, request: Any, context: Any) -> calls.DeleteDatasetResponse:
        del self.world.datasets[self._mine(request.dataset_id).id]
        del self.world.owners[request.dataset_id]
        return calls.DeleteDatasetResponse()

    async def BeginAudio(self, request: Any, context: Any) -> calls.BeginAudioResponse:
        self._mine(request.dataset_id)
        audio = self._new_audio(request.dataset_id, new_id(), request.filename, request.size_bytes)
        return calls.BeginAudioResponse(audio=audio, upload_form=form_of(self.world, audio.media_id))

    def _new_audio(self, dataset_id: str, media_id: str, filename: str, size_bytes: int) -> DatasetAudio:
        audio = DatasetAudio(id=new_id(), dataset_id=dataset_id, media_id=media_id, original_filename=filename, size_bytes=size_bytes)
        audio.state = DatasetAudio.STATE_PENDING
        audio.create_time.GetCurrentTime()
        self.world.audio[audio.id] = audio
        return audio

    async def ConfirmAudio(self, request: Any, context: Any) -> calls.ConfirmAudioResponse:
        audio = self._audio(request)
        if audio.media_id not in self.world.complete:
            raise UploadIncomplete
        if bytes(self.world.blobs[audio.media_id]).startswith(b"TEXT"):
            audio.state, audio.error_message = DatasetAudio.STATE_FAILED, "The file is not audio."
        else:
            audio.state = DatasetAudio.STATE_NORMALIZING
        return calls.ConfirmAudioResponse(audio=audio)

    async def ImportAudio(self, request: Any, context: Any) -> calls.ImportAudioResponse:
        self._mine(request.dataset_id)
        media = self.world.media.get(request.media_id)
        if media is None or media.workspace_id != current_caller().workspace_id:
            raise MediaNotFound
        audio = self._new_audio(request.dataset_id, new_id(), media.filename, media.size_bytes)
        audio.state, audio.duration_ms = DatasetAudio.STATE_NORMALIZING, media.probe.duration_ms
        return calls.ImportAudioResponse(audio=audio)

    async def GetAudio(self, request: Any, context: Any) -> calls.GetAudioResponse:
        return calls.GetAudioResponse(audio=self._audio(request))

    async def ListAudio(self, request: Any, context: Any) -> calls.ListAudioResponse:
        found = self._audio_of(self._mine(request.dataset_id).id)
        return calls.ListAudioResponse(audio=page_of(found, request), total_size=len(found))

    async def DeleteAudio(self, request: Any, context: Any) -> calls.DeleteAudioResponse:
        del self.world.audio[self._audio(request).id]
        return calls.DeleteAudioResponse()

    async def SignAudioUrl(self, request: Any, context: Any) -> calls.SignAudioUrlResponse:
        return calls.SignAudioUrlResponse(download_url=signed_read(self.world, self._audio(request).media_id))

    async def CreateAnnotationSet(self, request: Any, context: Any) -> calls.CreateAnnotationSetResponse:
        self._mine(request.dataset_id)
        version = 1 + sum(each.dataset_id == request.dataset_id for each in self.world.sets.values())
        made = AnnotationSet(id=new_id(), dataset_id=request.dataset_id, version=version, state=AnnotationSet.STATE_DRAFT)
        made.create_time.GetCurrentTime()
        self.world.sets[made.id] = made
        return calls.CreateAnnotationSetResponse(annotation_set=made)

    async def GetAnnotationSet(self, request: Any, context: Any) -> calls.GetAnnotationSetResponse:
        return calls.GetAnnotationSetResponse(annotation_set=self._set(request))

    async def ListAnnotationSets(self, request: Any, context: Any) -> calls.ListAnnotationSetsResponse:
        self._mine(request.dataset_id)
        found = [each for each in self.world.sets.values() if each.dataset_id == request.dataset_id]
        return calls.ListAnnotationSetsResponse(annotation_sets=page_of(found, request), total_size=len(found))

    async def PublishAnnotationSet(self, request: Any, context: Any) -> calls.PublishAnnotationSetResponse:
        found = self._set(request, draft=True)
        labels = self._labels(found.id)
        if not labels:
            raise AnnotationSetEmpty
        found.state, found.total_annotations = AnnotationSet.STATE_PUBLISHED, len(labels)
        found.total_positive_duration_ms = sum(each.end_offset_ms - each.start_offset_ms for each in labels)
        for each in labels:
            found.annotations_by_type[each.artifact_type] += 1
        found.publish_time.GetCurrentTime()
        return calls.PublishAnnotationSetResponse(annotation_set=found)

    async def DeleteAnnotationSet(self, request: Any, context: Any) -> calls.DeleteAnnotationSetResponse:
        del self.world.sets[self._set(request, draft=True).id]
        return calls.DeleteAnnotationSetResponse()

    def _labels(self, set_id: str) -> list[Annotation]:
        return [each for each in self.world.annotations.values() if each.annotation_set_id == set_id]

    async def CreateAnnotations(self, request: Any, context: Any) -> calls.CreateAnnotationsResponse:
        found = self._set(request, draft=True)
        for asked in request.annotations:
            self._check_label(request.dataset_id, asked)
        made = []
        for asked in request.annotations:
            label = Annotation()
            label.CopyFrom(asked)
            label.id, label.annotation_set_id = new_id(), found.id
            self.world.annotations[label.id] = label
            made.append(label)
        return calls.CreateAnnotationsResponse(annotations=made)

    def _check_label(self, dataset_id: str, label: Annotation) -> None:
        audio = self.world.audio.get(label.audio_file_id)
        if audio is None or audio.dataset_id != dataset_id:
            raise AudioNotFound
        if label.artifact_type not in {each.name for each in self.world.datasets[dataset_id].artifact_types}:
            raise UnknownArtifactType(artifact_type=label.artifact_type)

    async def ListAnnotations(self, request: Any, context: Any) -> AsyncIterator[calls.ListAnnotationsResponse]:
        labels = self._labels(self._set(request).id)
        for start in range(0, len(labels), _PART):
            yield calls.ListAnnotationsResponse(annotations=labels[start : start + _PART])

    def _label(self, request: Any, label_id: str) -> Annotation:
        found, label = self._set(request, draft=True), self.world.annotations.get(label_id)
        if label is None or label.annotation_set_id != found.id:
            raise AnnotationNotFound
        return label

    async def UpdateAnnotation(self, request: Any, context: Any) -> calls.UpdateAnnotationResponse:
        label = self._label(request, request.annotation.id)
        change(label, request, request.annotation)
        return calls.UpdateAnnotationResponse(annotation=label)

    async def DeleteAnnotation(self, request: Any, context: Any) -> calls.DeleteAnnotationResponse:
        del self.world.annotations[self._label(request, request.annotation_id).id]
        return calls.DeleteAnnotationResponse()
