"""What crashes leave behind, found and removed."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from services.mesh import fault
from services.storage.datasets import AudioState, SetState
from services.storage.store import audio, datasets, objects
from services.storage.store.dataset_tables import DatasetAudio
from services.storage.store.tables import MODELS
from services.storage.usecases.depot import Depot

KEYS_PER_QUERY = 500
AUDIO_PER_SWEEP = 1000


async def read_clock(depot: Depot) -> datetime:
    """The database's time."""
    async with depot.database.reading() as session:
        return await objects.clock(session)


async def expire_uploads(depot: Depot, age: timedelta) -> int:
    """Delete uploads that were not committed, and that nothing happened to for this long; how many."""
    expired = 0
    for model in MODELS.values():
        async with depot.database.transaction() as session:
            expired += await objects.expire_uploads(session, model, age)
            fault.point("storage.expire.before_commit")
    if expired:
        depot.wake_reaper()
    return expired


async def drop_unfinished_audio(depot: Depot) -> int:
    """Drop announced audio whose upload expired; what a published set speaks of stays, failed. Answers how many."""
    async with depot.database.reading() as session:
        lost = await audio.list_unfinished(session, AUDIO_PER_SWEEP)
    fault.point("storage.expire.before_audio")
    for file in lost:
        async with depot.database.transaction() as session:
            await _drop_unfinished(session, file)
    return len(lost)


async def _drop_unfinished(session: AsyncSession, file: DatasetAudio) -> None:
    dataset = await datasets.lock_by_id(session, file.dataset_id)
    row = await audio.lock_audio(session, dataset, file.id) if dataset is not None else None
    if dataset is None or row is None or row.state != AudioState.PENDING:
        return
    if await audio.is_annotated(session, dataset, file.id, SetState.PUBLISHED):
        row.state, row.error_message = AudioState.FAILED, "The upload was not completed in time."
        await session.flush()
    else:
        await audio.delete_audio(session, row)


async def sweep_blobs(depot: Depot, before: datetime) -> int:
    """Remove blobs older than a time that no row speaks of, and what broken writers left; how many."""
    removed = await depot.blobs.sweep_remnants(before)
    async for entries in depot.blobs.entries():
        keys = [entry.key for entry in entries if entry.modify_time < before]
        for start in range(0, len(keys), KEYS_PER_QUERY):
            removed += await _remove_orphans(depot, keys[start : start + KEYS_PER_QUERY])
    return removed


async def _remove_orphans(depot: Depot, keys: Sequence[str]) -> int:
    async with depot.database.reading() as session:
        orphans = set(keys) - await objects.known_keys(session, keys)
    for key in orphans:
        fault.point("storage.sweep.before_delete")
        await depot.blobs.delete(key)
    return len(orphans)
