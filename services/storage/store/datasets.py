"""Queries on datasets."""

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import Table, and_, delete, func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh.columns import dialect_of, now_utc_sql
from services.storage.datasets import Owner, Place
from services.storage.domain import State
from services.storage.store.dataset_tables import ANNOTATION, AUDIO, DATASET, SET, Dataset
from services.storage.store.tables import Artefact, Media


async def find_dataset(session: AsyncSession, owner: Owner, dataset_id: str) -> Dataset | None:
    """The owner's dataset of this id."""
    mine = col(Dataset.workspace_id) == owner.workspace_id, col(Dataset.owner) == owner.name
    return (await session.exec(select(Dataset).where(col(Dataset.id) == dataset_id, *mine))).one_or_none()


async def lock_dataset(session: AsyncSession, owner: Owner, dataset_id: str) -> Dataset | None:
    """As `find_dataset`; whatever changes a dataset, its sets or their annotations waits for the transaction's end."""
    mine = col(Dataset.workspace_id) == owner.workspace_id, col(Dataset.owner) == owner.name
    statement = select(Dataset).where(col(Dataset.id) == dataset_id, *mine).with_for_update()
    return (await session.exec(statement)).one_or_none()


async def lock_by_id(session: AsyncSession, dataset_id: str) -> Dataset | None:
    """As `lock_dataset`, whosever it is."""
    return (await session.exec(select(Dataset).where(col(Dataset.id) == dataset_id).with_for_update())).one_or_none()


async def list_datasets(session: AsyncSession, owner: Owner, place: Place) -> tuple[Sequence[Dataset], int]:
    """A page of the owner's datasets, newest first, and how many there are."""
    mine = col(Dataset.workspace_id) == owner.workspace_id, col(Dataset.owner) == owner.name
    newest = select(Dataset).where(*mine).order_by(col(Dataset.id).desc())
    rows = (await session.exec(newest.offset(place.skip).limit(place.limit))).all()
    return rows, (await session.exec(select(func.count()).select_from(Dataset).where(*mine))).one()


async def count_contents(session: AsyncSession, owner: Owner, dataset_ids: Sequence[str]) -> Mapping[str, tuple[int, int]]:
    """How many audio files and annotation sets datasets hold, by id."""
    audio, sets = await _count(session, AUDIO, owner, dataset_ids), await _count(session, SET, owner, dataset_ids)
    return {dataset_id: (audio[dataset_id], sets[dataset_id]) for dataset_id in dataset_ids}


async def _count(session: AsyncSession, table: Table, owner: Owner, dataset_ids: Sequence[str]) -> Counter[str]:
    mine = and_(table.c.workspace_id == owner.workspace_id, table.c.dataset_id.in_(dataset_ids))
    statement = select(table.c.dataset_id, func.count()).where(mine).group_by(table.c.dataset_id)
    return Counter(dict((await (await session.connection()).execute(statement)).all()))


async def touch_dataset(session: AsyncSession, dataset: Dataset) -> None:
    """Write a locked row's new values, and when."""
    dataset.change_time = (await session.exec(select(now_utc_sql(dialect_of(session))))).one()
    await session.flush()


async def delete_dataset(session: AsyncSession, dataset: Dataset) -> None:
    """Drop a locked dataset with all that is in it; the bytes of its media and features are the reaper's."""
    connection = await session.connection()
    now = now_utc_sql(dialect_of(session))
    mine = and_(AUDIO.c.dataset_id == dataset.id, AUDIO.c.workspace_id == dataset.workspace_id)
    features = select(AUDIO.c.features_id).where(mine, AUDIO.c.features_id.is_not(None))
    buried = {"state": State.DELETED, "change_time": now}
    for model, which in ((Media, col(Media.dataset_id) == dataset.id), (Artefact, col(Artefact.id).in_(features))):
        living = and_(col(model.workspace_id) == dataset.workspace_id, col(model.state) != State.DELETED)
        await connection.execute(update(model).where(which, living).values(buried))
    for table in (ANNOTATION, SET, AUDIO):
        await connection.execute(delete(table).where(table.c.dataset_id == dataset.id, table.c.workspace_id == dataset.workspace_id))
    await connection.execute(delete(DATASET).where(DATASET.c.id == dataset.id, DATASET.c.workspace_id == dataset.workspace_id))
