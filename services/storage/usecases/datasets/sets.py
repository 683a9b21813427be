"""Annotation sets: drafts, and what publishing fixes for ever."""

from collections.abc import Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh import fault
from services.mesh.ids import new_id
from services.storage.datasets import Owner, Place, SetState, Statistics
from services.storage.domain import AnnotationSetEmpty
from services.storage.store import annotations, objects
from services.storage.store.dataset_tables import AnnotationSet, Dataset
from services.storage.usecases.datasets.finding import hold_dataset, hold_draft, require_dataset, require_set
from services.storage.usecases.depot import Depot

Described = tuple[AnnotationSet, Statistics]


async def create_set(depot: Depot, owner: Owner, dataset_id: str) -> Described:
    """Make the next version, an empty draft. Raises DatasetNotFound."""
    async with depot.database.transaction() as session:
        dataset = await hold_dataset(session, owner, dataset_id)
        dataset.last_version += 1
        draft = AnnotationSet(
            id=new_id(),
            workspace_id=dataset.workspace_id,
            dataset_id=dataset.id,
            version=dataset.last_version,
            state=SetState.DRAFT,
            create_time=await objects.clock(session),
        )
        session.add(draft)
        fault.point("storage.annotation_set.before_commit")
    return draft, Statistics(0, 0, {})


async def get_set(depot: Depot, owner: Owner, dataset_id: str, set_id: str) -> Described:
    """One set with its statistics. Raises DatasetNotFound, AnnotationSetNotFound."""
    async with depot.database.reading() as session:
        dataset = await require_dataset(session, owner, dataset_id)
        [described] = await describe(session, dataset, [await require_set(session, dataset, set_id)])
    return described


async def list_sets(depot: Depot, owner: Owner, dataset_id: str, place: Place) -> tuple[Sequence[Described], int]:
    """A page of a dataset's sets, newest version first, and how many there are. Raises DatasetNotFound."""
    async with depot.database.reading() as session:
        dataset = await require_dataset(session, owner, dataset_id)
        rows, total = await annotations.list_sets(session, dataset, place)
        return await describe(session, dataset, rows), total


async def publish_set(depot: Depot, owner: Owner, dataset_id: str, set_id: str) -> Described:
    """Freeze a draft with its statistics.

    Raises DatasetNotFound, AnnotationSetNotFound, AnnotationSetPublished, AnnotationSetEmpty.
    """
    async with depot.database.transaction() as session:
        dataset, draft = await hold_draft(session, owner, dataset_id, set_id)
        found = (await annotations.count_statistics(session, dataset, [draft.id]))[draft.id]
        if not found.total_annotations:
            raise AnnotationSetEmpty(annotation_set_id=set_id)
        draft.total_annotations = found.total_annotations
        draft.total_positive_duration_ms = found.total_positive_duration_ms
        draft.annotations_by_type = dict(found.annotations_by_type)
        draft.state, draft.publish_time = SetState.PUBLISHED, await objects.clock(session)
        await session.flush()
        fault.point("storage.publish.before_commit")
    fault.point("storage.publish.after_commit")
    return draft, found


async def delete_set(depot: Depot, owner: Owner, dataset_id: str, set_id: str) -> None:
    """Delete a draft. Raises DatasetNotFound, AnnotationSetNotFound, AnnotationSetPublished."""
    async with depot.database.transaction() as session:
        _, draft = await hold_draft(session, owner, dataset_id, set_id)
        await annotations.delete_set(session, draft)
        fault.point("storage.delete_annotation_set.before_commit")


async def describe(session: AsyncSession, dataset: Dataset, rows: Sequence[AnnotationSet]) -> list[Described]:
    """Sets with their statistics: those of drafts are counted, those of published ones are as they were."""
    drafts = [row.id for row in rows if row.state == SetState.DRAFT]
    counted = await annotations.count_statistics(session, dataset, drafts) if drafts else {}
    return [(row, counted[row.id] if row.id in counted else _fixed(row)) for row in rows]


def _fixed(published: AnnotationSet) -> Statistics:
    return Statistics(published.total_annotations, published.total_positive_duration_ms, published.annotations_by_type)
