"""DatasetsService: messages to use cases and back."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

from services.storage.datasets import read_place
from services.storage.rpc.callers import lifetime_of, owner_of_call
from services.storage.rpc.dataset_messages import (
    annotation_proto,
    audio_proto,
    dataset_proto,
    label_of,
    set_proto,
    training_file_proto,
    types_of,
)
from services.storage.rpc.storage import form_proto, url_proto
from services.storage.usecases.datasets import annotating, catalogue, files, sets, training
from services.storage.usecases.depot import Depot
from steno.storage.v1 import datasets_service_pb2 as messages
from steno.storage.v1.datasets_service_pb2_grpc import DatasetsServiceServicer

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class DatasetsRpc(DatasetsServiceServicer):
    """The workspace and owner of every call are the caller's."""

    def __init__(self, depot: Depot) -> None:
        self._depot = depot

    async def CreateDataset(self, request: messages.CreateDatasetRequest, context: Context) -> messages.CreateDatasetResponse:
        """Make a dataset."""
        made = await catalogue.create_dataset(
            self._depot, owner_of_call(), request.name, request.description, types_of(request.artifact_types)
        )
        return messages.CreateDatasetResponse(dataset=dataset_proto(made))

    async def GetDataset(self, request: messages.GetDatasetRequest, context: Context) -> messages.GetDatasetResponse:
        """One dataset."""
        found = await catalogue.get_dataset(self._depot, owner_of_call(), request.dataset_id)
        return messages.GetDatasetResponse(dataset=dataset_proto(found))

    async def ListDatasets(self, request: messages.ListDatasetsRequest, context: Context) -> messages.ListDatasetsResponse:
        """A page of datasets."""
        rows, total = await catalogue.list_datasets(self._depot, owner_of_call(), read_place(request.page, request.page_size))
        return messages.ListDatasetsResponse(datasets=map(dataset_proto, rows), total_size=total)

    async def UpdateDataset(self, request: messages.UpdateDatasetRequest, context: Context) -> messages.UpdateDatasetResponse:
        """Change a dataset."""
        given = request.dataset
        change = catalogue.change_of(request.update_mask.paths, given.name, given.description, types_of(given.artifact_types))
        changed = await catalogue.update_dataset(self._depot, owner_of_call(), given.id, change)
        return messages.UpdateDatasetResponse(dataset=dataset_proto(changed))

    async def DeleteDataset(self, request: messages.DeleteDatasetRequest, context: Context) -> messages.DeleteDatasetResponse:
        """Delete a dataset."""
        await catalogue.delete_dataset(self._depot, owner_of_call(), request.dataset_id)
        return messages.DeleteDatasetResponse()

    async def BeginAudio(self, request: messages.BeginAudioRequest, context: Context) -> messages.BeginAudioResponse:
        """Announce an audio file."""
        announced = request.filename, request.content_type, request.size_bytes
        audio, form = await files.begin_audio(self._depot, owner_of_call(), request.dataset_id, *announced)
        return messages.BeginAudioResponse(audio=audio_proto(audio), upload_form=form_proto(form))

    async def ConfirmAudio(self, request: messages.ConfirmAudioRequest, context: Context) -> messages.ConfirmAudioResponse:
        """Take uploaded bytes in."""
        audio = await files.confirm_audio(self._depot, owner_of_call(), request.dataset_id, request.audio_id)
        return messages.ConfirmAudioResponse(audio=audio_proto(audio))

    async def ImportAudio(self, request: messages.ImportAudioRequest, context: Context) -> messages.ImportAudioResponse:
        """Copy media into a dataset."""
        audio = await files.import_audio(self._depot, owner_of_call(), request.dataset_id, request.media_id)
        return messages.ImportAudioResponse(audio=audio_proto(audio))

    async def GetAudio(self, request: messages.GetAudioRequest, context: Context) -> messages.GetAudioResponse:
        """One audio file."""
        audio = await files.get_audio(self._depot, owner_of_call(), request.dataset_id, request.audio_id)
        return messages.GetAudioResponse(audio=audio_proto(audio))

    async def ListAudio(self, request: messages.ListAudioRequest, context: Context) -> messages.ListAudioResponse:
        """A page of audio files."""
        place = read_place(request.page, request.page_size)
        rows, total = await files.list_audio(self._depot, owner_of_call(), request.dataset_id, place)
        return messages.ListAudioResponse(audio=map(audio_proto, rows), total_size=total)

    async def DeleteAudio(self, request: messages.DeleteAudioRequest, context: Context) -> messages.DeleteAudioResponse:
        """Delete an audio file."""
        await files.delete_audio(self._depot, owner_of_call(), request.dataset_id, request.audio_id)
        return messages.DeleteAudioResponse()

    async def SignAudioUrl(self, request: messages.SignAudioUrlRequest, context: Context) -> messages.SignAudioUrlResponse:
        """Where to read an audio file."""
        lifetime = lifetime_of(request.ttl) if request.HasField("ttl") else None
        address = await files.sign_audio_url(self._depot, owner_of_call(), request.dataset_id, request.audio_id, lifetime)
        return messages.SignAudioUrlResponse(download_url=url_proto(address))

    async def CreateAnnotationSet(
        self, request: messages.CreateAnnotationSetRequest, context: Context
    ) -> messages.CreateAnnotationSetResponse:
        """Make a draft."""
        draft = await sets.create_set(self._depot, owner_of_call(), request.dataset_id)
        return messages.CreateAnnotationSetResponse(annotation_set=set_proto(*draft))

    async def GetAnnotationSet(self, request: messages.GetAnnotationSetRequest, context: Context) -> messages.GetAnnotationSetResponse:
        """One set."""
        found = await sets.get_set(self._depot, owner_of_call(), request.dataset_id, request.annotation_set_id)
        return messages.GetAnnotationSetResponse(annotation_set=set_proto(*found))

    async def ListAnnotationSets(
        self, request: messages.ListAnnotationSetsRequest, context: Context
    ) -> messages.ListAnnotationSetsResponse:
        """A page of sets."""
        place = read_place(request.page, request.page_size)
        rows, total = await sets.list_sets(self._depot, owner_of_call(), request.dataset_id, place)
        return messages.ListAnnotationSetsResponse(annotation_sets=[set_proto(*row) for row in rows], total_size=total)

    async def PublishAnnotationSet(
        self, request: messages.PublishAnnotationSetRequest, context: Context
    ) -> messages.PublishAnnotationSetResponse:
        """Freeze a draft."""
        published = await sets.publish_set(self._depot, owner_of_call(), request.dataset_id, request.annotation_set_id)
        return messages.PublishAnnotationSetResponse(annotation_set=set_proto(*published))

    async def DeleteAnnotationSet(
        self, request: messages.DeleteAnnotationSetRequest, context: Context
    ) -> messages.DeleteAnnotationSetResponse:
        """Delete a draft."""
        await sets.delete_set(self._depot, owner_of_call(), request.dataset_id, request.annotation_set_id)
        return messages.DeleteAnnotationSetResponse()

    async def CreateAnnotations(self, request: messages.CreateAnnotationsRequest, context: Context) -> messages.CreateAnnotationsResponse:
        """Add annotations."""
        labels = [label_of(given) for given in request.annotations]
        rows = await annotating.create_annotations(self._depot, owner_of_call(), request.dataset_id, request.annotation_set_id, labels)
        return messages.CreateAnnotationsResponse(annotations=map(annotation_proto, rows))

    async def UpdateAnnotation(self, request: messages.UpdateAnnotationRequest, context: Context) -> messages.UpdateAnnotationResponse:
        """Change an annotation."""
        given = request.annotation
        place = annotating.Spot(request.dataset_id, given.annotation_set_id, given.id)
        row = await annotating.update_annotation(self._depot, owner_of_call(), place, label_of(given), request.update_mask.paths)
        return messages.UpdateAnnotationResponse(annotation=annotation_proto(row))

    async def DeleteAnnotation(self, request: messages.DeleteAnnotationRequest, context: Context) -> messages.DeleteAnnotationResponse:
        """Delete an annotation."""
        place = annotating.Spot(request.dataset_id, request.annotation_set_id, request.annotation_id)
        await annotating.delete_annotation(self._depot, owner_of_call(), place)
        return messages.DeleteAnnotationResponse()

    async def DescribeTrainingSet(
        self, request: messages.DescribeTrainingSetRequest, context: Context
    ) -> messages.DescribeTrainingSetResponse:
        """What there is to train on."""
        found = await training.describe_training_set(self._depot, owner_of_call(), request.dataset_id, request.annotation_set_id)
        return messages.DescribeTrainingSetResponse(
            dataset=dataset_proto(found.dataset),
            annotation_set=set_proto(found.annotation_set, found.statistics),
            file_count=found.stock.file_count,
            ready_file_count=found.stock.ready_file_count,
            ready_duration_ms=found.stock.ready_duration_ms,
        )

    async def ListAnnotations(
        self, request: messages.ListAnnotationsRequest, context: Context
    ) -> AsyncIterator[messages.ListAnnotationsResponse]:
        """The annotations of a set."""
        rows = annotating.list_annotations(self._depot, owner_of_call(), request.dataset_id, request.annotation_set_id)
        async with aclosing(rows) as batches:
            async for batch in batches:
                yield messages.ListAnnotationsResponse(annotations=map(annotation_proto, batch))

    async def ListTrainingFiles(
        self, request: messages.ListTrainingFilesRequest, context: Context
    ) -> AsyncIterator[messages.ListTrainingFilesResponse]:
        """The files to train on."""
        found = training.list_training_files(self._depot, owner_of_call(), request.dataset_id, request.annotation_set_id)
        async with aclosing(found) as rows:
            async for row in rows:
                yield training_file_proto(row)
