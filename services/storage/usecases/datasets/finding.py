"""Finding a dataset and what is in it: unknown, foreign and deleted ids look the same."""

from sqlmodel.ext.asyncio.session import AsyncSession

from services.storage.datasets import Owner, SetState
from services.storage.domain import AnnotationSetNotFound, AnnotationSetPublished, AudioNotFound, DatasetNotFound
from services.storage.store import annotations, audio, datasets
from services.storage.store.dataset_tables import AnnotationSet, Dataset, DatasetAudio


async def require_dataset(session: AsyncSession, owner: Owner, dataset_id: str) -> Dataset:
    """The owner's dataset. Raises DatasetNotFound."""
    if (found := await datasets.find_dataset(session, owner, dataset_id)) is None:
        raise DatasetNotFound(dataset_id=dataset_id)
    return found


async def hold_dataset(session: AsyncSession, owner: Owner, dataset_id: str) -> Dataset:
    """As `require_dataset`, and changes of the dataset and its sets wait until the transaction ends."""
    if (found := await datasets.lock_dataset(session, owner, dataset_id)) is None:
        raise DatasetNotFound(dataset_id=dataset_id)
    return found


async def require_audio(session: AsyncSession, dataset: Dataset, audio_id: str) -> DatasetAudio:
    """The dataset's audio file. Raises AudioNotFound."""
    if (found := await audio.find_audio(session, dataset, audio_id)) is None:
        raise AudioNotFound(audio_id=audio_id)
    return found


async def require_set(session: AsyncSession, dataset: Dataset, set_id: str) -> AnnotationSet:
    """The dataset's annotation set. Raises AnnotationSetNotFound."""
    if (found := await annotations.find_set(session, dataset, set_id)) is None:
        raise AnnotationSetNotFound(annotation_set_id=set_id)
    return found


async def hold_draft(session: AsyncSession, owner: Owner, dataset_id: str, set_id: str) -> tuple[Dataset, AnnotationSet]:
    """A dataset with a draft of it, neither of which changes until the transaction ends.

    Raises DatasetNotFound, AnnotationSetNotFound, AnnotationSetPublished.
    """
    dataset = await hold_dataset(session, owner, dataset_id)
    chosen = await require_set(session, dataset, set_id)
    if chosen.state != SetState.DRAFT:
        raise AnnotationSetPublished(annotation_set_id=set_id)
    return dataset, chosen
