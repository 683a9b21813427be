"""What a trainer reads of a dataset."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.storage.datasets import Owner, SetState, Statistics
from services.storage.domain import AnnotationSetNotFound, Kind, State
from services.storage.store import annotations, objects
from services.storage.store import audio as store
from services.storage.store.audio import Stock
from services.storage.store.dataset_tables import Annotation, AnnotationSet, DatasetAudio
from services.storage.store.tables import Artefact
from services.storage.usecases.datasets.catalogue import Counted, count
from services.storage.usecases.datasets.finding import require_dataset, require_set
from services.storage.usecases.datasets.sets import describe
from services.storage.usecases.depot import Depot
from services.storage.usecases.reading import Address, address_of

_FILES_PER_READ = 50
_FEATURES_LIFETIME = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What there is to train on."""

    dataset: Counted
    annotation_set: AnnotationSet
    statistics: Statistics
    stock: Stock


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """One file to train on; its annotations lie within it, in order of time."""

    audio: DatasetAudio
    features: Address
    annotations: Sequence[Annotation]


async def describe_training_set(depot: Depot, owner: Owner, dataset_id: str, set_id: str) -> TrainingSet:
    """Every fact that a training order is accepted or refused by, as of one moment. Raises DatasetNotFound, AnnotationSetNotFound."""
    async with depot.database.reading() as session:
        dataset = await require_dataset(session, owner, dataset_id)
        [(chosen, statistics)] = await describe(session, dataset, [await require_set(session, dataset, set_id)])
        return TrainingSet(await count(session, owner, dataset), chosen, statistics, await store.take_stock(session, dataset))


async def list_training_files(depot: Depot, owner: Owner, dataset_id: str, set_id: str) -> AsyncGenerator[TrainingFile, None]:
    """Every ready file of the dataset with its annotations in a published set, in order of id.

    Raises DatasetNotFound, AnnotationSetNotFound.
    """
    async with depot.database.reading() as session:
        dataset = await require_dataset(session, owner, dataset_id)
        chosen = await require_set(session, dataset, set_id)
    if chosen.state != SetState.PUBLISHED:
        raise AnnotationSetNotFound(annotation_set_id=set_id)
    after_id = ""
    while True:
        async with depot.database.reading() as session:
            files = await store.list_ready_audio(session, dataset, after_id, _FILES_PER_READ)
        for audio in files:
            if (found := await _training_file(depot, chosen, audio)) is not None:
                yield found
        if len(files) < _FILES_PER_READ:
            return
        after_id = files[-1].id


async def _training_file(depot: Depot, chosen: AnnotationSet, audio: DatasetAudio) -> TrainingFile | None:
    """None when it was deleted, or is prepared again, meanwhile."""
    features = await objects.find(depot.database, Artefact, audio.features_id or "", audio.workspace_id)
    if features is None or features.state != State.READY:
        return None
    async with depot.database.reading() as session:
        rows = await annotations.list_of_file(session, chosen, audio.id)
    # Labels made before the file was confirmed were not yet held against its length.
    within = [row.model_copy(update={"end_ms": min(row.end_ms, audio.duration_ms)}) for row in rows if row.start_ms < audio.duration_ms]
    return TrainingFile(audio, await address_of(depot, Kind.ARTEFACT, features, _FEATURES_LIFETIME), within)
