"""Annotations of a draft."""

from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh import fault
from services.mesh.errors import InvalidField
from services.mesh.ids import new_id
from services.storage.datasets import (
    MAX_ANNOTATIONS_AT_ONCE,
    MAX_ANNOTATIONS_OF_FILE,
    MAX_EXTRA_DATA_TOGETHER_BYTES,
    Label,
    Owner,
    check_extra_data_together,
    check_label,
    extra_data_bytes,
)
from services.storage.domain import AnnotationNotFound, AudioNotFound
from services.storage.store import annotations, audio
from services.storage.store.annotations import Position
from services.storage.store.dataset_tables import Annotation, AnnotationSet, Dataset
from services.storage.usecases.datasets.finding import hold_draft, require_dataset, require_set
from services.storage.usecases.depot import Depot

ANNOTATIONS_PER_MESSAGE = 500
_FIELDS = {
    "audio_file_id": "audio_id",
    "artifact_type": "artifact_type",
    "start_offset_ms": "start_ms",
    "end_offset_ms": "end_ms",
    "confidence": "confidence",
    "extra_data": "extra_data",
}


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an annotation is found."""

    dataset_id: str
    set_id: str
    annotation_id: str


async def create_annotations(depot: Depot, owner: Owner, dataset_id: str, set_id: str, labels: Sequence[Label]) -> Sequence[Annotation]:
    """Add all of them or none, and answer them in their order.

    Raises DatasetNotFound, AnnotationSetNotFound, AnnotationSetPublished, InvalidField, AudioNotFound, UnknownArtifactType.
    """
    if not 1 <= len(labels) <= MAX_ANNOTATIONS_AT_ONCE:
        raise InvalidField(f"annotations are 1 to {MAX_ANNOTATIONS_AT_ONCE}.", field="annotations")
    check_extra_data_together(labels)
    async with depot.database.transaction() as session:
        dataset, draft = await hold_draft(session, owner, dataset_id, set_id)
        await _check(session, dataset, draft, labels)
        rows = [_row(dataset, draft, new_id(), label) for label in labels]
        await annotations.add_annotations(session, rows)
        fault.point("storage.annotate.before_commit")
    fault.point("storage.annotate.after_commit")
    return rows


async def update_annotation(depot: Depot, owner: Owner, spot: Spot, label: Label, paths: Sequence[str]) -> Annotation:
    """Change the fields that the paths name. Raises as `create_annotations`, and AnnotationNotFound."""
    if not paths or set(paths) - set(_FIELDS):
        raise InvalidField("update_mask names fields of an annotation that can change.", field="update_mask")
    async with depot.database.transaction() as session:
        dataset, draft = await hold_draft(session, owner, spot.dataset_id, spot.set_id)
        row = await _require(session, draft, spot.annotation_id)
        names = [_FIELDS[path] for path in paths]
        changed = replace(_label(row), **{name: getattr(label, name) for name in names})
        await _check(session, dataset, draft, [changed], counted=changed.audio_id != row.audio_id)
        for name in names:
            setattr(row, name, getattr(changed, name))
        await session.flush()
        fault.point("storage.change_annotation.before_commit")
    return row


async def delete_annotation(depot: Depot, owner: Owner, spot: Spot) -> None:
    """Delete an annotation. Raises DatasetNotFound, AnnotationSetNotFound, AnnotationSetPublished, AnnotationNotFound."""
    async with depot.database.transaction() as session:
        _, draft = await hold_draft(session, owner, spot.dataset_id, spot.set_id)
        await annotations.remove_annotation(session, await _require(session, draft, spot.annotation_id))
        fault.point("storage.delete_annotation.before_commit")


async def list_annotations(depot: Depot, owner: Owner, dataset_id: str, set_id: str) -> AsyncGenerator[Sequence[Annotation], None]:
    """The annotations of a set, some at a time, in order of file and time. Raises DatasetNotFound, AnnotationSetNotFound."""
    async with depot.database.reading() as session:
        dataset = await require_dataset(session, owner, dataset_id)
        chosen = await require_set(session, dataset, set_id)
    after: Position = ("", -1, "")
    while True:
        async with depot.database.reading() as session:
            rows = await annotations.list_annotations(session, chosen, after, ANNOTATIONS_PER_MESSAGE)
        for batch in _messages(rows):
            yield batch
        if rows:
            after = rows[-1].audio_id, rows[-1].start_ms, rows[-1].id
        if len(rows) < ANNOTATIONS_PER_MESSAGE:
            return


def _messages(rows: Sequence[Annotation]) -> Iterator[Sequence[Annotation]]:
    """The rows in parts that each fit a message."""
    part: list[Annotation] = []
    size_bytes = 0
    for row in rows:
        size_bytes += extra_data_bytes(row.extra_data)
        if part and size_bytes > MAX_EXTRA_DATA_TOGETHER_BYTES:
            yield part
            part, size_bytes = [], extra_data_bytes(row.extra_data)
        part.append(row)
    if part:
        yield part


async def _check(session: AsyncSession, dataset: Dataset, draft: AnnotationSet, labels: Sequence[Label], *, counted: bool = True) -> None:
    types = {declared["name"] for declared in dataset.artifact_types}
    of_file = Counter(label.audio_id for label in labels)
    durations = await audio.read_durations(session, dataset, of_file)
    for label in labels:
        if label.audio_id not in durations:
            raise AudioNotFound(audio_id=label.audio_id)
        check_label(label, types, durations[label.audio_id])
    if counted:
        _check_counts(of_file, await annotations.count_of_files(session, draft, of_file))


def _check_counts(more: Mapping[str, int], there: Mapping[str, int]) -> None:
    if any(there.get(audio_id, 0) + count > MAX_ANNOTATIONS_OF_FILE for audio_id, count in more.items()):
        raise InvalidField(f"A file has at most {MAX_ANNOTATIONS_OF_FILE} annotations in a set.", field="annotations")


async def _require(session: AsyncSession, draft: AnnotationSet, annotation_id: str) -> Annotation:
    if (row := await annotations.find_annotation(session, draft, annotation_id)) is None:
        raise AnnotationNotFound(annotation_id=annotation_id)
    return row


def _row(dataset: Dataset, draft: AnnotationSet, annotation_id: str, label: Label) -> Annotation:
    return Annotation(
        id=annotation_id,
        workspace_id=dataset.workspace_id,
        dataset_id=dataset.id,
        annotation_set_id=draft.id,
        audio_id=label.audio_id,
        artifact_type=label.artifact_type,
        start_ms=label.start_ms,
        end_ms=label.end_ms,
        confidence=label.confidence,
        extra_data=dict(label.extra_data),
    )


def _label(row: Annotation) -> Label:
    return Label(row.audio_id, row.artifact_type, row.start_ms, row.end_ms, row.confidence, row.extra_data)
