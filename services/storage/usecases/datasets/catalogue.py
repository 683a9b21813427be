"""Datasets themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh import fault
from services.mesh.errors import InvalidField
from services.mesh.ids import new_id
from services.storage.datasets import Owner, Place, check_artifact_types, check_description, check_name
from services.storage.domain import ArtifactTypeInUse
from services.storage.store import annotations, datasets, objects
from services.storage.store.dataset_tables import Dataset
from services.storage.usecases.datasets.finding import hold_dataset, require_dataset
from services.storage.usecases.depot import Depot

Types = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Counted:
    """A dataset, and how many audio files and annotation sets it holds."""

    dataset: Dataset
    audio_count: int
    annotation_set_count: int


@dataclass(frozen=True, slots=True)
class Change:
    """New values of a dataset; None leaves one as it is."""

    name: str | None = None
    description: str | None = None
    artifact_types: Types | None = None


async def create_dataset(depot: Depot, owner: Owner, name: str, description: str, types: Types) -> Counted:
    """Make an empty dataset. Raises InvalidField."""
    facts: dict[str, Any] = {
        "name": check_name(name),
        "description": check_description(description),
        "artifact_types": check_artifact_types(types),
    }
    async with depot.database.transaction() as session:
        now = await objects.clock(session)
        dataset = Dataset(
            id=new_id(), workspace_id=owner.workspace_id, owner=owner.name, last_version=0, create_time=now, change_time=now, **facts
        )
        session.add(dataset)
        fault.point("storage.dataset.before_commit")
    fault.point("storage.dataset.after_commit")
    return Counted(dataset, 0, 0)


async def get_dataset(depot: Depot, owner: Owner, dataset_id: str) -> Counted:
    """One dataset. Raises DatasetNotFound."""
    async with depot.database.reading() as session:
        return await count(session, owner, await require_dataset(session, owner, dataset_id))


async def list_datasets(depot: Depot, owner: Owner, place: Place) -> tuple[Sequence[Counted], int]:
    """A page of the owner's datasets, newest first, and how many there are."""
    async with depot.database.reading() as session:
        rows, total = await datasets.list_datasets(session, owner, place)
        counts = await datasets.count_contents(session, owner, [row.id for row in rows])
    return [Counted(row, *counts[row.id]) for row in rows], total


async def update_dataset(depot: Depot, owner: Owner, dataset_id: str, change: Change) -> Counted:
    """Change a dataset. Raises DatasetNotFound, InvalidField, ArtifactTypeInUse."""
    async with depot.database.transaction() as session:
        dataset = await hold_dataset(session, owner, dataset_id)
        if change.name is not None:
            dataset.name = check_name(change.name)
        if change.description is not None:
            dataset.description = check_description(change.description)
        if change.artifact_types is not None:
            dataset.artifact_types = await _new_types(session, dataset, change.artifact_types)
        await datasets.touch_dataset(session, dataset)
        counted = await count(session, owner, dataset)
        fault.point("storage.dataset_change.before_commit")
    return counted


async def _new_types(session: AsyncSession, dataset: Dataset, types: Types) -> list[dict[str, str]]:
    checked = check_artifact_types(types)
    kept = {given["name"] for given in checked}
    if lost := {given["name"] for given in dataset.artifact_types} - kept:
        used = sorted(lost & await annotations.used_types(session, dataset))
        if used:
            raise ArtifactTypeInUse(artifact_type=used[0])
    return checked


async def delete_dataset(depot: Depot, owner: Owner, dataset_id: str) -> None:
    """Delete a dataset with all that is in it; its bytes go soon. Raises DatasetNotFound."""
    async with depot.database.transaction() as session:
        await datasets.delete_dataset(session, await hold_dataset(session, owner, dataset_id))
        fault.point("storage.delete_dataset.before_commit")
    fault.point("storage.delete_dataset.after_commit")
    depot.wake_reaper()


async def count(session: AsyncSession, owner: Owner, dataset: Dataset) -> Counted:
    """A dataset with its counts."""
    counts = await datasets.count_contents(session, owner, [dataset.id])
    return Counted(dataset, *counts[dataset.id])


def change_of(paths: Sequence[str], name: str, description: str, types: Types) -> Change:
    """The change that a field mask asks for. Raises InvalidField."""
    given = {"name": name, "description": description, "artifact_types": types}
    if not paths or set(paths) - set(given):
        raise InvalidField("update_mask names some of name, description and artifact_types.", field="update_mask")
    return Change(**{path: given[path] for path in paths})  # type: ignore[arg-type]
