"""Deleting: the row says so first, then the bytes go, then the row."""

from typing import TypeVar

from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh import fault
from services.mesh.errors import Unavailable
from services.mesh.outbox import publish_later
from services.mesh.streams import event_subject
from services.mesh.telemetry import get_logger
from services.storage.domain import State
from services.storage.store import objects
from services.storage.store.tables import MODELS, OUTBOX, Artefact, Media, StoredObject
from services.storage.usecases.depot import Depot
from steno.storage.v1.storage_events_pb2 import MediaDeleted

Row = TypeVar("Row", bound=StoredObject)
REAP_BATCH = 100


async def delete_media(depot: Depot, workspace_id: str, media_id: str) -> None:
    """Make media unreadable at once and its bytes go soon; nothing happens for an unknown id."""

    async def unit(session: AsyncSession) -> None:
        media = await objects.lock(session, Media, media_id, workspace_id)
        if media is None or media.dataset_id is not None:
            return
        if media.state == State.READY:
            event = MediaDeleted(media_id=media.id, workspace_id=media.workspace_id)
            await publish_later(session, OUTBOX, event_subject("storage", MediaDeleted), event)
        await objects.set_deleted(session, media)
        fault.point("storage.delete.before_commit")

    await depot.database.grouped(unit)
    fault.point("storage.delete.after_commit")
    depot.wake_relay()
    depot.wake_reaper()


async def delete_artefact(depot: Depot, workspace_id: str, artefact_id: str) -> None:
    """Make an artefact unreadable at once and its bytes go soon; nothing happens for an unknown id."""
    await depot.database.grouped(lambda session: _bury(session, Artefact, artefact_id, workspace_id))
    fault.point("storage.delete_artefact.after_commit")
    depot.wake_reaper()


async def erase(depot: Depot, model: type[Row], row: Row) -> None:
    """Remove a refused upload now, unless it was accepted meanwhile; the reaper does what fails here."""
    buried = await depot.database.grouped(lambda session: _bury(session, model, row.id, row.workspace_id, State.UPLOADING))
    if buried is None:
        return
    fault.point("storage.erase.after_commit")
    try:
        await _reap_row(depot, model, buried)
    except Unavailable as error:
        get_logger("storage.deletion").warning("refused bytes left to the reaper", exc_info=error)
        depot.wake_reaper()


async def reap(depot: Depot) -> int:
    """Remove the bytes of deleted rows, then the rows; how many. Raises Unavailable, with the rest left for later."""
    reaped = 0
    for model in MODELS.values():
        async with depot.database.reading() as session:
            rows = await objects.list_deleted(session, model, REAP_BATCH)
        for row in rows:
            await _reap_row(depot, model, row)
        reaped += len(rows)
    return reaped


async def _bury(session: AsyncSession, model: type[Row], object_id: str, workspace_id: str, only: State | None = None) -> Row | None:
    """The row, now deleted; None if there is none, or none in the only state asked for."""
    row = await objects.lock(session, model, object_id, workspace_id)
    if row is None or (only is not None and row.state != only):
        return None
    await objects.set_deleted(session, row)
    return row


async def _reap_row(depot: Depot, model: type[Row], row: Row) -> None:
    fault.point("storage.reap.before_blob")
    if row.object_key is not None:
        await depot.blobs.delete(row.object_key)
    if isinstance(row, Media) and row.upload_key is not None:
        await depot.blobs.delete(row.upload_key)
    fault.point("storage.reap.before_row")
    await depot.database.grouped(lambda session: objects.remove(session, model, row.id))
    fault.point("storage.reap.after_row")
