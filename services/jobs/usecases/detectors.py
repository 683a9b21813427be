"""Reading, changing and deleting detectors."""

from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.detection import accepted_description, accepted_name, read_place
from services.jobs.domain import ModelInactive, ModelInUse, ModelNotFound
from services.jobs.store.detectors import (
    change_detector,
    delete_detector,
    detector_proto,
    files_wait,
    list_detectors,
    read_detector,
)
from services.jobs.store.removals import order_removal
from services.jobs.usecases.access import known
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.errors import InvalidField
from services.mesh.identity import Caller
from steno.jobs.v1.detection_jobs_service_pb2 import ListDetectorsRequest, UpdateDetectorRequest
from steno.jobs.v1.detector_pb2 import Detector


async def get_detector(resources: Resources, caller: Caller, detector_id: str) -> Detector:
    """One detector of the caller. Raises ModelNotFound, AuthenticationRequired."""
    known(caller)
    async with resources.database.reading() as session:
        return detector_proto(await own_detector(session, caller, detector_id))


async def own_detector(session: AsyncSession, caller: Caller, detector_id: str, *, hold: bool = False) -> Row[Any]:
    """A detector of the caller; `hold` keeps it as it is until the transaction ends. Raises ModelNotFound."""
    row = await read_detector(session, caller.workspace_id, caller.owner, detector_id, hold=hold)
    if row is None:
        raise ModelNotFound(model_id=detector_id)
    return row


async def active_detector(session: AsyncSession, caller: Caller, detector_id: str, *, hold: bool = False) -> Row[Any]:
    """The same of one that can be used. Raises ModelNotFound, ModelInactive."""
    row = await own_detector(session, caller, detector_id, hold=hold)
    if not row.is_active:
        raise ModelInactive(model_id=detector_id)
    return row


async def list_page(resources: Resources, caller: Caller, request: ListDetectorsRequest) -> tuple[list[Detector], int]:
    """A page of the caller's detectors, newest first, and how many there are on all. Raises InvalidField, AuthenticationRequired."""
    known(caller)
    place = read_place(request.page, request.page_size)
    is_active = request.is_active if request.HasField("is_active") else None
    async with resources.database.reading() as session:
        rows, total = await list_detectors(session, caller.workspace_id, caller.owner, place, is_active)
    return [detector_proto(row) for row in rows], total


async def update_detector(resources: Resources, caller: Caller, request: UpdateDetectorRequest) -> Detector:
    """The detector, changed where the mask says so. Raises ModelNotFound, InvalidField, AuthenticationRequired."""
    known(caller)
    values = _changes(request)
    async with resources.database.transaction() as session:
        row = await own_detector(session, caller, request.detector.id, hold=True)
        changed = await change_detector(session, caller.workspace_id, row.id, **values) if values else row
        fault.point("jobs.update_detector.before_commit")
    return detector_proto(changed)


def _changes(request: UpdateDetectorRequest) -> dict[str, Any]:
    asked, paths = request.detector, set(request.update_mask.paths)
    if unknown := paths - {"name", "description", "is_active"}:
        raise InvalidField(f"{min(unknown)} cannot be changed.", field="update_mask")
    values: dict[str, Any] = {}
    if "name" in paths:
        values["name"] = accepted_name(asked.name)
    if "description" in paths:
        values["description"] = accepted_description(asked.description)
    if "is_active" in paths:
        values["is_active"] = asked.is_active
    return values


async def remove_detector(resources: Resources, caller: Caller, detector_id: str) -> None:
    """The detector is gone at once, and its bytes soon after. Raises ModelNotFound, ModelInUse, AuthenticationRequired."""
    known(caller)
    async with resources.database.transaction() as session:
        row = await own_detector(session, caller, detector_id, hold=True)
        if await files_wait(session, caller.workspace_id, detector_id):
            raise ModelInUse(model_id=detector_id)
        await delete_detector(session, caller.workspace_id, detector_id)
        await order_removal(session, "artefact", row.artefact_id, row.workspace_id, "")
        fault.point("jobs.delete_detector.before_commit")
    fault.point("jobs.delete_detector.after_commit")
    resources.removals_waiting.set()
