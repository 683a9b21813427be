"""Accepting an order: hold, job, idempotency key and event, or nothing at all."""

import time
from dataclasses import replace
from datetime import UTC, datetime

from services.jobs.domain import (
    IdempotencyKeyReused,
    MediaNotFound,
    MediaTaken,
    accepted_config,
    check_idempotency_key,
    check_media_age,
    check_source,
    fingerprint,
)
from services.jobs.store.jobs import to_proto
from services.jobs.store.keys import ClientKey, read_by_key
from services.jobs.usecases.intake import Order, Refusal
from services.jobs.usecases.peers import reaching
from services.jobs.usecases.resources import Resources
from services.mesh.errors import ServiceUnavailable
from services.mesh.identity import Caller
from services.mesh.ids import new_id
from services.mesh.status import RemoteError, is_remote
from services.mesh.telemetry import get_logger
from steno.billing.v1.billing_service_pb2 import ReleaseRequest, ReserveRequest
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import CreateJobRequest
from steno.storage.v1.media_pb2 import Media
from steno.storage.v1.storage_service_pb2 import GetMediaRequest


def client_key(caller: Caller, key: str) -> ClientKey | None:
    """The key with its scope: the API key, or the owner where there is none. Raises InvalidIdempotencyKey."""
    if not key:
        return None
    check_idempotency_key(key)
    return ClientKey(caller.workspace_id, caller.key_id or caller.owner, key)


async def create_job(resources: Resources, caller: Caller, request: CreateJobRequest) -> tuple[Job, bool]:
    """The job, and whether an earlier request with the same key made it.

    Raises MediaNotFound, MediaTaken, IdempotencyKeyReused, InvalidLanguage, InvalidField, InvalidIdempotencyKey, ServiceUnavailable,
    and billing's and storage's refusals.
    """
    order = await _read_order(resources, caller, request)
    if (earlier := await _find_earlier(resources, order)) is not None:
        return earlier, True
    check_media_age(resources.policy, datetime.now(UTC) - order.media.create_time.ToDatetime(tzinfo=UTC))
    order = replace(order, reserve_time=time.monotonic())
    try:
        await _reserve(resources, order)
    except RemoteError as error:
        if is_remote(error, "NO_CREDITS") and (earlier := await _find_earlier(resources, order)) is not None:
            return earlier, True
        raise
    job = await _keep(resources, order)
    if job is None:
        return await _replay(resources, order), True
    resources.announce(job)
    return job, False


async def _read_order(resources: Resources, caller: Caller, request: CreateJobRequest) -> Order:
    config = accepted_config(request.config)
    check_source(request.source)
    key = client_key(caller, request.idempotency_key)
    with reaching("storage"):
        media = (await resources.storage.GetMedia(GetMediaRequest(media_id=request.media_id))).media
    if media.state != Media.STATE_READY:
        raise MediaNotFound(media_id=request.media_id)
    print_of_order = fingerprint(config, request.source, media.sha256)
    return Order(new_id(), caller, key, print_of_order, config, request.source, media)


async def _find_earlier(resources: Resources, order: Order) -> Job | None:
    """What the key made before. Raises IdempotencyKeyReused when that was another order."""
    if order.client_key is None:
        return None
    row = await read_by_key(resources.database, order.client_key)
    if row is None:
        return None
    if row.fingerprint != order.fingerprint:
        raise IdempotencyKeyReused()
    return to_proto(row)


async def _reserve(resources: Resources, order: Order) -> None:
    with reaching("billing"):
        await resources.billing.Reserve(ReserveRequest(job_id=order.job_id, amount_ms=order.held_ms))


async def _keep(resources: Resources, order: Order) -> Job | None:
    """The stored job; None when another request took the key first, its hold given back.

    When the outcome of the commit is unknown the hold stays: reconciling finds out later whether there is a job.
    """
    outcome = await resources.intake.store(order)
    if isinstance(outcome, Job):
        return outcome
    await _release(resources, order)
    if outcome is Refusal.TOO_LATE:
        raise ServiceUnavailable("The order took too long; try again.", service="jobs")
    if outcome is Refusal.MEDIA_TAKEN:
        raise MediaTaken(media_id=order.media.id)
    return None


async def _release(resources: Resources, order: Order) -> None:
    try:
        await resources.billing.Release(ReleaseRequest(job_id=order.job_id))
    except RemoteError as error:
        # Reconciling gives it back later.
        get_logger("jobs.create").warning("hold not released", job_id=order.job_id, reason=error.reason_name)


async def _replay(resources: Resources, order: Order) -> Job:
    winner = await _find_earlier(resources, order)
    if winner is None:
        raise ServiceUnavailable("The job of this idempotency key was deleted just now; try again.", service="jobs")
    return winner
