"""Queries on the audio files of datasets."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import case, delete, func
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.storage.datasets import AudioState, Place, SetState
from services.storage.domain import State
from services.storage.store.dataset_tables import ANNOTATION, AUDIO, SET, Dataset, DatasetAudio
from services.storage.store.tables import Media


@dataclass(frozen=True, slots=True)
class Stock:
    """How much audio a dataset has."""

    file_count: int
    ready_file_count: int
    ready_duration_ms: int


async def find_audio(session: AsyncSession, dataset: Dataset, audio_id: str) -> DatasetAudio | None:
    """The dataset's audio file of this id."""
    mine = col(DatasetAudio.dataset_id) == dataset.id, col(DatasetAudio.workspace_id) == dataset.workspace_id
    return (await session.exec(select(DatasetAudio).where(col(DatasetAudio.id) == audio_id, *mine))).one_or_none()


async def lock_audio(session: AsyncSession, dataset: Dataset, audio_id: str) -> DatasetAudio | None:
    """As `find_audio`, and nobody else changes it until the transaction ends."""
    mine = col(DatasetAudio.dataset_id) == dataset.id, col(DatasetAudio.workspace_id) == dataset.workspace_id
    statement = select(DatasetAudio).where(col(DatasetAudio.id) == audio_id, *mine).with_for_update()
    return (await session.exec(statement)).one_or_none()


async def find_imported(session: AsyncSession, dataset: Dataset, source_media_id: str) -> DatasetAudio | None:
    """The dataset's copy of this media."""
    mine = col(DatasetAudio.dataset_id) == dataset.id, col(DatasetAudio.workspace_id) == dataset.workspace_id
    return (await session.exec(select(DatasetAudio).where(col(DatasetAudio.source_media_id) == source_media_id, *mine))).one_or_none()


async def list_audio(session: AsyncSession, dataset: Dataset, place: Place) -> tuple[Sequence[DatasetAudio], int]:
    """A page of a dataset's audio files, newest first, and how many there are."""
    mine = col(DatasetAudio.dataset_id) == dataset.id, col(DatasetAudio.workspace_id) == dataset.workspace_id
    newest = select(DatasetAudio).where(*mine).order_by(col(DatasetAudio.id).desc())
    rows = (await session.exec(newest.offset(place.skip).limit(place.limit))).all()
    return rows, (await session.exec(select(func.count()).select_from(DatasetAudio).where(*mine))).one()


async def list_ready_audio(session: AsyncSession, dataset: Dataset, after_id: str, limit: int) -> Sequence[DatasetAudio]:
    """The next ready audio files of a dataset in order of id."""
    mine = col(DatasetAudio.dataset_id) == dataset.id, col(DatasetAudio.workspace_id) == dataset.workspace_id
    ready = select(DatasetAudio).where(*mine, col(DatasetAudio.state) == AudioState.READY, col(DatasetAudio.id) > after_id)
    return (await session.exec(ready.order_by(col(DatasetAudio.id)).limit(limit))).all()


async def read_durations(session: AsyncSession, dataset: Dataset, audio_ids: Collection[str]) -> Mapping[str, int]:
    """Lengths of those files that the dataset has, 0 while unknown; by id."""
    mine = AUDIO.c.dataset_id == dataset.id, AUDIO.c.workspace_id == dataset.workspace_id
    statement = select(AUDIO.c.id, AUDIO.c.duration_ms).where(*mine, AUDIO.c.id.in_(audio_ids))
    return dict((await (await session.connection()).execute(statement)).all())


async def take_stock(session: AsyncSession, dataset: Dataset) -> Stock:
    """What of a dataset's audio was confirmed, and what of that is ready."""
    ready = AUDIO.c.state == AudioState.READY
    figures = (func.count(), func.sum(case((ready, 1), else_=0)), func.sum(case((ready, AUDIO.c.duration_ms), else_=0)))
    mine = AUDIO.c.dataset_id == dataset.id, AUDIO.c.workspace_id == dataset.workspace_id
    statement = select(*figures).where(*mine, AUDIO.c.state != AudioState.PENDING)
    files, ready_files, duration_ms = (await (await session.connection()).execute(statement)).one()
    return Stock(files, int(ready_files or 0), int(duration_ms or 0))


async def is_annotated(session: AsyncSession, dataset: Dataset, audio_id: str, state: SetState) -> bool:
    """Whether a set in this state annotates the file."""
    mine = ANNOTATION.c.workspace_id == dataset.workspace_id, ANNOTATION.c.audio_id == audio_id
    used = select(ANNOTATION.c.id).join(SET, SET.c.id == ANNOTATION.c.annotation_set_id).where(*mine, SET.c.state == state)
    return (await (await session.connection()).execute(used.limit(1))).first() is not None


async def delete_audio(session: AsyncSession, audio: DatasetAudio) -> None:
    """Drop a file with its annotations."""
    connection = await session.connection()
    for table, which in ((ANNOTATION, ANNOTATION.c.audio_id == audio.id), (AUDIO, AUDIO.c.id == audio.id)):
        await connection.execute(delete(table).where(which, table.c.workspace_id == audio.workspace_id))


async def list_unfinished(session: AsyncSession, limit: int) -> Sequence[DatasetAudio]:
    """Pending files whose upload expired."""
    living = select(Media.id).where(col(Media.id) == DatasetAudio.media_id, col(Media.state) != State.DELETED).exists()
    statement = select(DatasetAudio).where(col(DatasetAudio.state) == AudioState.PENDING, ~living)
    return (await session.exec(statement.limit(limit))).all()
