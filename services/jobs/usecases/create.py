"""Accepting an order: hold, job, idempotency key and event, or nothing at all."""

import time
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.domain import (
    IdempotencyKeyReused,
    MediaNotFound,
    accepted_config,
    check_idempotency_key,
    check_source,
    fingerprint,
)
from services.jobs.store.jobs import insert_job, to_proto
from services.jobs.store.keys import ClientKey, read_by_key, take_key
from services.jobs.store.tables import outbox
from services.jobs.usecases.peers import reaching
from services.jobs.usecases.resources import Resources
from services.mesh.errors import ServiceUnavailable
from services.mesh.identity import Caller
from services.mesh.ids import new_id
from services.mesh.outbox import publish_later
from services.mesh.status import RemoteError, is_remote
from services.mesh.streams import event_subject
from services.mesh.telemetry import get_logger
from steno.billing.v1.billing_service_pb2 import ReleaseRequest, ReserveRequest
from steno.jobs.v1.job_pb2 import Job, TranscriptionConfig
from steno.jobs.v1.jobs_events_pb2 import JobQueued
from steno.jobs.v1.jobs_service_pb2 import CreateJobRequest
from steno.storage.v1.media_pb2 import Media
from steno.storage.v1.storage_service_pb2 import GetMediaRequest


@dataclass(frozen=True)
class _Order:
    job_id: str
    caller: Caller
    client_key: ClientKey | None
    fingerprint: str
    config: TranscriptionConfig
    source: int
    media: Media

    @property
    def held_ms(self) -> int:
        return max(1, self.media.probe.duration_ms)


def client_key(caller: Caller, key: str) -> ClientKey | None:
    """The key with its scope: the API key, or the owner where there is none. Raises InvalidIdempotencyKey."""
    if not key:
        return None
    check_idempotency_key(key)
    return ClientKey(caller.workspace_id, caller.key_id or caller.owner, key)


async def create_job(resources: Resources, caller: Caller, request: CreateJobRequest) -> tuple[Job, bool]:
    """The job, and whether an earlier request with the same key made it.

    Raises MediaNotFound, IdempotencyKeyReused, InvalidLanguage, InvalidField, InvalidIdempotencyKey, ServiceUnavailable,
    and billing's and storage's refusals.
    """
    order = await _read_order(resources, caller, request)
    if (earlier := await _find_earlier(resources, order)) is not None:
        return earlier, True
    reserve_time = time.monotonic()
    try:
        await _reserve(resources, order)
    except RemoteError as error:
        if is_remote(error, "NO_CREDITS") and (earlier := await _find_earlier(resources, order)) is not None:
            return earlier, True
        raise
    job = await _keep(resources, order, reserve_time)
    if job is None:
        return await _replay(resources, order), True
    resources.announce(job)
    return job, False


async def _read_order(resources: Resources, caller: Caller, request: CreateJobRequest) -> _Order:
    config = accepted_config(request.config)
    check_source(request.source)
    key = client_key(caller, request.idempotency_key)
    with reaching("storage"):
        media = (await resources.storage.GetMedia(GetMediaRequest(media_id=request.media_id))).media
    if media.state != Media.STATE_READY:
        raise MediaNotFound(media_id=request.media_id)
    print_of_order = fingerprint(config, request.source, media.sha256)
    return _Order(new_id(), caller, key, print_of_order, config, request.source, media)


async def _find_earlier(resources: Resources, order: _Order) -> Job | None:
    """What the key made before. Raises IdempotencyKeyReused when that was another order."""
    if order.client_key is None:
        return None
    async with resources.database.reading() as session:
        row = await read_by_key(session, order.client_key)
    if row is None:
        return None
    if row.fingerprint != order.fingerprint:
        raise IdempotencyKeyReused()
    return to_proto(row)


async def _reserve(resources: Resources, order: _Order) -> None:
    with reaching("billing"):
        await resources.billing.Reserve(ReserveRequest(job_id=order.job_id, amount_ms=order.held_ms))


async def _keep(resources: Resources, order: _Order, reserve_time: float) -> Job | None:
    """The stored job; None when another request took the key first, its hold given back.

    When the outcome of the commit is unknown the hold stays: reconciling finds out later whether there is a job.
    """

    async def unit(session: AsyncSession) -> Job | None:
        if time.monotonic() - reserve_time > resources.policy.reserve_age.total_seconds():
            # Reconciling may already count the hold as an orphan.
            raise _HoldTooOld("The order took too long; try again.", service="jobs")
        return await _insert(session, order)

    try:
        job = await resources.database.grouped(unit)
    except _HoldTooOld:
        await _release(resources, order)
        raise
    if job is None:
        await _release(resources, order)
    return job


class _HoldTooOld(ServiceUnavailable):
    """Too much time went by since credit was put on hold."""

    @classmethod
    def reason(cls) -> str:
        return ServiceUnavailable.reason()


async def _insert(session: AsyncSession, order: _Order) -> Job | None:
    key = order.client_key
    if key is not None and not await take_key(session, key, order.fingerprint, order.job_id):
        return None
    row = await insert_job(
        session,
        id=order.job_id,
        workspace_id=order.caller.workspace_id,
        owner=order.caller.owner,
        source=order.source,
        media_id=order.media.id,
        media_sha256=order.media.sha256,
        filename=order.media.filename,
        audio_duration_ms=order.media.probe.duration_ms,
        held_ms=order.held_ms,
        config=order.config.SerializeToString(),
    )
    event = JobQueued(job_id=order.job_id, workspace_id=order.caller.workspace_id)
    await publish_later(session, outbox, event_subject("jobs", JobQueued), event)
    return to_proto(row)


async def _release(resources: Resources, order: _Order) -> None:
    try:
        await resources.billing.Release(ReleaseRequest(job_id=order.job_id))
    except RemoteError as error:
        # Reconciling gives it back later.
        get_logger("jobs.create").warning("hold not released", job_id=order.job_id, reason=error.reason_name)


async def _replay(resources: Resources, order: _Order) -> Job:
    winner = await _find_earlier(resources, order)
    if winner is None:
        raise ServiceUnavailable("The job of this idempotency key was deleted just now; try again.", service="jobs")
    return winner
