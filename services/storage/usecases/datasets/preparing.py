"""Preparing audio for training: its bytes to samples, its samples to features."""

import asyncio
import random
import sys
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from sqlmodel.ext.asyncio.session import AsyncSession

from services.media.decode import decode
from services.media.errors import MediaError, SandboxKilled
from services.mesh import fault
from services.mesh.errors import MeshError
from services.mesh.ids import new_id
from services.mesh.telemetry import get_logger
from services.storage.blobs.blobs import PIECE_BYTES, BlobMissing
from services.storage.blobs.inflow import open_inflow
from services.storage.datasets import MAX_ATTEMPTS, AudioState, preparation_delay
from services.storage.domain import OCTET_STREAM, Receipt, State, attachment, new_object_key
from services.storage.store import objects, preparations
from services.storage.store.dataset_tables import DatasetAudio
from services.storage.store.tables import Artefact, Media
from services.storage.usecases.datasets.program import ProgramFailed, run_program
from services.storage.usecases.depot import Depot

LEASE = timedelta(seconds=60)
PREPARE = (sys.executable, "-m", "services.detection.prepare")
_WORN_OUT = "The file could not be prepared; delete it and send it again."
_GONE = "The bytes of the file are gone."
_BATCH = 100


class AudioRefused(Exception):
    """The file cannot be prepared, however often that is tried."""


class LeaseLost(Exception):
    """Somebody else prepares the file by now, or it was deleted."""


@dataclass(frozen=True, slots=True)
class Preparer:
    """How files are prepared. command: takes the samples' file and the features' file; version: of the features that it makes."""

    folder: Path
    version: int
    command: Sequence[str] = PREPARE
    lease: timedelta = LEASE
    least_seconds: float = 120.0


async def prepare_next(depot: Depot, preparer: Preparer) -> bool:
    """Prepare the file that has waited longest; False when none waits."""
    async with depot.database.transaction() as session:
        audio = await preparations.claim_audio(session, new_id(), preparer.lease)
        fault.point("storage.prepare.before_claim")
    if audio is None:
        return False
    fault.point("storage.prepare.after_claim")
    logger = get_logger("storage.preparing").bind(audio_id=audio.id, attempt=audio.attempts)
    try:
        await _while_leased(depot, preparer, audio)
        logger.info("prepared", duration_ms=audio.duration_ms)
    except LeaseLost:
        logger.info("given up to another")
    except AudioRefused as error:
        logger.info("refused", error=str(error))
        await _end(depot, audio, {"state": AudioState.FAILED, "error_message": str(error)})
    except (MeshError, MediaError, ProgramFailed, OSError) as error:
        logger.warning("attempt failed", error=str(error))
        await _retry_later(depot, audio)
    except asyncio.CancelledError:
        await asyncio.shield(_put_back(depot, audio, timedelta(0), audio.attempts - 1))
        raise
    return True


async def refresh(depot: Depot, preparer: Preparer) -> None:
    """Have outdated files prepared again, and give up on those that took their process down too often."""
    async with depot.database.transaction() as session:
        outdated = await preparations.outdate(session, preparer.version)
        worn = await preparations.list_worn_out(session, _BATCH)
        if worn:
            await preparations.fail_worn_out(session, worn, _WORN_OUT)
        fault.point("storage.refresh.before_commit")
    if outdated or worn:
        get_logger("storage.preparing").info("refreshed", outdated=outdated, given_up=len(worn))


async def _while_leased(depot: Depot, preparer: Preparer, audio: DatasetAudio) -> None:
    """Prepare, and end soon after the lease is lost. Raises LeaseLost."""
    work = asyncio.create_task(_prepare(depot, preparer, audio), name="storage preparation")
    try:
        while not (await asyncio.wait([work], timeout=preparer.lease.total_seconds() / 4))[0]:
            await _require_lease(depot, partial(preparations.renew_lease, audio=audio, lease=preparer.lease))
        work.result()
    finally:
        work.cancel()
        await asyncio.wait([work])


async def _require_lease(depot: Depot, change: Callable[[AsyncSession], Awaitable[bool]]) -> None:
    if not await depot.database.grouped(change):
        raise LeaseLost


async def _prepare(depot: Depot, preparer: Preparer, audio: DatasetAudio) -> None:
    media = await objects.find(depot.database, Media, audio.media_id, audio.workspace_id)
    if media is None or media.object_key is None:
        raise LeaseLost
    with tempfile.TemporaryDirectory(prefix="prepare-", dir=preparer.folder) as name:
        samples, features = Path(name) / "samples.pcm", Path(name) / "features.npy"
        duration_ms = await _normalize(depot, media.object_key, samples)
        await _require_lease(depot, partial(preparations.advance, audio=audio, state=AudioState.EMBEDDING))
        fault.point("storage.prepare.after_normalizing")
        # Features come at hundreds of times real time; a machine that is slower than real time has failed.
        await run_program([*preparer.command, str(samples), str(features)], preparer.least_seconds + duration_ms / 1000)
        samples.unlink()
        receipt = await _store(depot, features)
    fault.point("storage.prepare.after_blob")
    if not await _finish(depot, preparer, audio, receipt):
        await depot.blobs.delete(receipt.object_key)
        raise LeaseLost


async def _normalize(depot: Depot, object_key: str, samples: Path) -> int:
    """Decode to 16 kHz mono int16; how long it is. Raises AudioRefused."""
    try:
        async with depot.blobs.open_file(object_key) as source:
            with samples.open("wb") as target:
                return (await decode(depot.sandbox, source, target.fileno(), depot.limits.max_duration_ms)).duration_ms
    except BlobMissing as error:
        raise AudioRefused(_GONE) from error
    except SandboxKilled:
        raise
    except MediaError as error:
        raise AudioRefused(f"The audio cannot be read: {error.reason}"[:500]) from error


async def _store(depot: Depot, features: Path) -> Receipt:
    key = new_object_key()
    size_bytes = features.stat().st_size
    async with open_inflow(partial(depot.blobs.open_writer, key, attachment("features.npy"), size_bytes)) as inflow:
        async for piece in _pieces(features):
            await inflow.write(piece)
        return await inflow.publish(key)


async def _pieces(path: Path) -> AsyncGenerator[bytes, None]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            yield piece


async def _finish(depot: Depot, preparer: Preparer, audio: DatasetAudio, receipt: Receipt) -> bool:
    """The features' row and the file's in one transaction; False when the file is somebody else's by now."""
    async with depot.database.transaction() as session:
        features = await _features(session, audio, receipt)
        facts = {"state": AudioState.READY, "error_message": "", "features_id": features.id, "features_version": preparer.version}
        if not await preparations.end_preparation(session, audio, facts):
            return False
        session.add(features)
        if audio.features_id and (old := await objects.lock(session, Artefact, audio.features_id, audio.workspace_id)) is not None:
            await objects.set_deleted(session, old)
        await session.flush()
        fault.point("storage.prepare.before_commit")
    fault.point("storage.prepare.after_commit")
    depot.wake_reaper()
    return True


async def _features(session: AsyncSession, audio: DatasetAudio, receipt: Receipt) -> Artefact:
    now = await objects.clock(session)
    return Artefact(
        id=new_id(),
        workspace_id=audio.workspace_id,
        state=State.READY,
        object_key=receipt.object_key,
        size_bytes=receipt.size_bytes,
        sha256=receipt.sha256,
        media_type=OCTET_STREAM,
        create_time=now,
        change_time=now,
    )


async def _end(depot: Depot, audio: DatasetAudio, facts: dict[str, object]) -> None:
    await depot.database.grouped(partial(preparations.end_preparation, audio=audio, facts=facts))


async def _retry_later(depot: Depot, audio: DatasetAudio) -> None:
    if audio.attempts >= MAX_ATTEMPTS:
        await _end(depot, audio, {"state": AudioState.FAILED, "error_message": _WORN_OUT})
    else:
        await _put_back(depot, audio, preparation_delay(audio.attempts) * random.uniform(0.5, 1), audio.attempts)  # noqa: S311


async def _put_back(depot: Depot, audio: DatasetAudio, delay: timedelta, attempts: int) -> None:
    await depot.database.grouped(partial(preparations.put_back, audio=audio, delay=delay, attempts=attempts))
