"""Queries on annotation sets and annotations."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, func, insert, tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.storage.datasets import Place, Statistics
from services.storage.store.dataset_tables import ANNOTATION, Annotation, AnnotationSet, Dataset

Position = tuple[str, int, str]


async def find_set(session: AsyncSession, dataset: Dataset, set_id: str) -> AnnotationSet | None:
    """The dataset's annotation set of this id."""
    mine = col(AnnotationSet.dataset_id) == dataset.id, col(AnnotationSet.workspace_id) == dataset.workspace_id
    return (await session.exec(select(AnnotationSet).where(col(AnnotationSet.id) == set_id, *mine))).one_or_none()


async def list_sets(session: AsyncSession, dataset: Dataset, place: Place) -> tuple[Sequence[AnnotationSet], int]:
    """A page of a dataset's annotation sets, newest version first, and how many there are."""
    mine = col(AnnotationSet.dataset_id) == dataset.id, col(AnnotationSet.workspace_id) == dataset.workspace_id
    newest = select(AnnotationSet).where(*mine).order_by(col(AnnotationSet.version).desc())
    rows = (await session.exec(newest.offset(place.skip).limit(place.limit))).all()
    return rows, (await session.exec(select(func.count()).select_from(AnnotationSet).where(*mine))).one()


async def delete_set(session: AsyncSession, chosen: AnnotationSet) -> None:
    """Drop a set with its annotations."""
    mine = ANNOTATION.c.workspace_id == chosen.workspace_id, ANNOTATION.c.annotation_set_id == chosen.id
    await (await session.connection()).execute(delete(ANNOTATION).where(*mine))
    await session.delete(chosen)
    await session.flush()


async def used_types(session: AsyncSession, dataset: Dataset) -> set[str]:
    """Names of the types that annotations of the dataset have."""
    mine = ANNOTATION.c.workspace_id == dataset.workspace_id, ANNOTATION.c.dataset_id == dataset.id
    found = await (await session.connection()).execute(select(ANNOTATION.c.artifact_type).where(*mine).distinct())
    return set(found.scalars())


async def count_statistics(session: AsyncSession, dataset: Dataset, set_ids: Sequence[str]) -> Mapping[str, Statistics]:
    """The statistics of sets as their annotations are now, by id."""
    mine = and_(ANNOTATION.c.workspace_id == dataset.workspace_id, ANNOTATION.c.annotation_set_id.in_(set_ids))
    connection = await session.connection()
    kind = ANNOTATION.c.annotation_set_id, ANNOTATION.c.artifact_type
    types: dict[str, dict[str, int]] = {set_id: {} for set_id in set_ids}
    for set_id, name, count in await connection.execute(select(*kind, func.count()).where(mine).group_by(*kind).order_by(*kind)):
        types[set_id][name] = count
    covered = dict((await connection.execute(_covered(mine))).all())
    return {set_id: Statistics(sum(named.values()), int(covered.get(set_id) or 0), named) for set_id, named in types.items()}


def _covered(mine: ColumnElement[bool]) -> Any:
    """Length of the union by set: each annotation, in order of its start, adds what lies past the farthest end before it."""
    box = ANNOTATION.c
    files = box.annotation_set_id, box.audio_id
    farthest = func.max(box.end_ms).over(partition_by=files, order_by=(box.start_ms, box.id), rows=(None, -1))
    reached = func.coalesce(farthest, 0).label("reached")
    spans = select(box.annotation_set_id, box.start_ms, box.end_ms, reached).where(mine).subquery()
    start = case((spans.c.reached > spans.c.start_ms, spans.c.reached), else_=spans.c.start_ms)
    added = case((spans.c.end_ms > start, spans.c.end_ms - start), else_=0)
    return select(spans.c.annotation_set_id, func.sum(added)).group_by(spans.c.annotation_set_id)


async def count_of_files(session: AsyncSession, chosen: AnnotationSet, audio_ids: Collection[str]) -> Mapping[str, int]:
    """How many annotations of a set lie in these files, by file."""
    mine = ANNOTATION.c.workspace_id == chosen.workspace_id, ANNOTATION.c.annotation_set_id == chosen.id
    counted = select(ANNOTATION.c.audio_id, func.count()).where(*mine, ANNOTATION.c.audio_id.in_(audio_ids))
    return dict((await (await session.connection()).execute(counted.group_by(ANNOTATION.c.audio_id))).all())


async def add_annotations(session: AsyncSession, rows: Sequence[Annotation]) -> None:
    """Store new rows."""
    await (await session.connection()).execute(insert(ANNOTATION), [row.model_dump() for row in rows])


async def find_annotation(session: AsyncSession, chosen: AnnotationSet, annotation_id: str) -> Annotation | None:
    """The set's annotation of this id."""
    mine = col(Annotation.annotation_set_id) == chosen.id, col(Annotation.workspace_id) == chosen.workspace_id
    return (await session.exec(select(Annotation).where(col(Annotation.id) == annotation_id, *mine))).one_or_none()


async def list_annotations(session: AsyncSession, chosen: AnnotationSet, after: Position, limit: int) -> Sequence[Annotation]:
    """The next annotations of a set, in order of file and time."""
    mine = col(Annotation.annotation_set_id) == chosen.id, col(Annotation.workspace_id) == chosen.workspace_id
    order = col(Annotation.audio_id), col(Annotation.start_ms), col(Annotation.id)
    statement = select(Annotation).where(*mine, tuple_(*order) > tuple_(*after)).order_by(*order)
    return (await session.exec(statement.limit(limit))).all()


async def list_of_file(session: AsyncSession, chosen: AnnotationSet, audio_id: str) -> Sequence[Annotation]:
    """A file's annotations in a set, in order of time."""
    mine = col(Annotation.annotation_set_id) == chosen.id, col(Annotation.workspace_id) == chosen.workspace_id
    statement = select(Annotation).where(*mine, col(Annotation.audio_id) == audio_id)
    return (await session.exec(statement.order_by(col(Annotation.start_ms), col(Annotation.id)))).all()


async def remove_annotation(session: AsyncSession, annotation: Annotation) -> None:
    """Drop an annotation of a draft."""
    mine = ANNOTATION.c.workspace_id == annotation.workspace_id, ANNOTATION.c.id == annotation.id
    await (await session.connection()).execute(delete(ANNOTATION).where(*mine))
