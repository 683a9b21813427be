"""Removing from storage what cancelled, deleted and losing work left there."""

import random
from typing import Any

from sqlalchemy import Row

from services.jobs.domain import retry_delay
from services.jobs.store.jobs import read_now
from services.jobs.store.removals import finish_removal, list_due, postpone_removal
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.identity import acting_for
from services.mesh.status import RemoteError
from services.mesh.telemetry import get_logger
from steno.storage.v1.storage_service_pb2 import DeleteArtefactRequest, DeleteMediaRequest

_GONE = frozenset({"MEDIA_NOT_FOUND", "ARTEFACT_NOT_FOUND"})


async def remove_due(resources: Resources) -> int:
    """Tries what is due, once each; answers how much of it is gone."""
    async with resources.database.reading() as session:
        due = await list_due(session, resources.policy.batch_size)
    return sum([await _remove(resources, removal) for removal in due])


async def _remove(resources: Resources, removal: Row[Any]) -> bool:
    fault.point("jobs.removal.before_ask")
    refusal = await _ask_storage(resources, removal)
    fault.point("jobs.removal.after_ask")
    async with resources.database.transaction() as session:
        if refusal is None:
            await finish_removal(session, removal)
        else:
            delay = retry_delay(resources.policy, removal.attempts + 1, random.random())  # noqa: S311
            await postpone_removal(session, removal, delay, await read_now(session))
        fault.point("jobs.removal.before_commit")
    return refusal is None


async def _ask_storage(resources: Resources, removal: Row[Any]) -> RemoteError | None:
    try:
        with acting_for(removal.workspace_id):
            if removal.kind == "media":
                await resources.storage.DeleteMedia(DeleteMediaRequest(media_id=removal.resource_id))
            else:
                await resources.storage.DeleteArtefact(DeleteArtefactRequest(artefact_id=removal.resource_id))
    except RemoteError as error:
        if error.reason_name in _GONE:
            return None
        get_logger("jobs.cleanup").warning("not removed yet", kind=removal.kind, id=removal.resource_id, reason=error.reason_name)
        return error
    return None
