"""Accepting an order: hold, job, idempotency key and event, or nothing at all."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from services.jobs.domain import (
    IdempotencyKeyReused,
    MediaNotFound,
    MediaTaken,
    accepted_config,
    accepted_title,
    accepted_ttl,
    check_idempotency_key,
    check_media_age,
    check_plan,
    check_source,
    fingerprint,
)
from services.jobs.store.jobs import to_proto
from services.jobs.store.keys import ClientKey, free_expired_key, read_by_key
from services.jobs.usecases.access import is_anonymous
from services.jobs.usecases.intake import Order, Refusal
from services.jobs.usecases.peers import CREDIT_REASONS, reaching, release, reserve
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.errors import InvalidArgument, InvalidField, ServiceUnavailable
from services.mesh.identity import Caller
from services.mesh.ids import new_id
from services.mesh.semconv import Attribute
from services.mesh.status import RemoteError
from services.mesh.tracing.spans import current_span
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import CreateJobRequest
from steno.storage.v1.media_pb2 import Media, SignedUrl
from steno.storage.v1.storage_service_pb2 import GetMediaRequest


@dataclass(frozen=True)
class Made:
    """The job of an order; `replayed` when an earlier request with the same key made it."""

    job: Job
    replayed: bool
    claim_token: str = ""
    upload_url: SignedUrl | None = None


def client_key(caller: Caller, key: str) -> ClientKey | None:
    """The key with its scope: the API key, or the owner where there is none. Raises InvalidIdempotencyKey."""
    if not key:
        return None
    check_idempotency_key(key)
    return ClientKey(caller.workspace_id, caller.key_id or caller.owner, key)


def begin_order(resources: Resources, caller: Caller, request: CreateJobRequest) -> Order:
    """What every order says; what it is made from is to be filled in.

    Raises InvalidField, InvalidLanguage, InvalidIdempotencyKey.
    """
    if (bool(request.media_id) + bool(request.url) + request.HasField("upload")) != 1:
        raise InvalidField("An order names one of media_id, url and upload.", field="media_id")
    config = accepted_config(request.config)
    check_source(request.source)
    job_id = new_id()
    return Order(
        job_id,
        caller,
        client_key(caller, request.idempotency_key),
        "",
        config,
        request.source,
        Media(),
        title=accepted_title(request.title),
        key_ttl=accepted_ttl(request.idempotency_ttl.ToTimedelta()) if request.HasField("idempotency_ttl") else None,
        claim_digest=resources.claim_key.digest(job_id) if is_anonymous(caller) else None,
    )


async def create_from_media(resources: Resources, caller: Caller, request: CreateJobRequest) -> Made:
    """A job of media that is ready, or the one that an earlier request with the same key made.

    Raises MediaNotFound, MediaTaken, IdempotencyKeyReused, InvalidLanguage, InvalidField, InvalidIdempotencyKey, ServiceUnavailable,
    and billing's and storage's refusals.
    """
    order = await _with_media(resources, begin_order(resources, caller, request), request.media_id)
    # Orders of one key wait for each other: two holds at once may be more than there is credit for, of which one would go back anyway.
    async with resources.orders.of(repr(order.client_key or order.job_id)):
        return await _make_from_media(resources, order)


async def _make_from_media(resources: Resources, order: Order) -> Made:
    if (earlier := await find_earlier(resources, order)) is not None:
        return earlier
    check_media_age(resources.policy, datetime.now(UTC) - order.media.create_time.ToDatetime(tzinfo=UTC))
    reserve_time = time.monotonic()
    fault.point("jobs.create.before_reserve")
    try:
        plan = await reserve(resources, order.job_id, order.held_ms)
    except RemoteError as error:
        if error.reason_name in CREDIT_REASONS and (earlier := await find_earlier(resources, order)) is not None:
            return earlier
        raise
    fault.point("jobs.create.after_reserve")
    try:
        check_plan(plan, order.media)
    except InvalidArgument:
        await release(resources, order.job_id)
        raise
    return await _keep(resources, replace(order, reserve_time=reserve_time, retention_days=plan.retention_days))


async def _with_media(resources: Resources, order: Order, media_id: str) -> Order:
    with reaching("storage"):
        media = (await resources.storage.GetMedia(GetMediaRequest(media_id=media_id))).media
    if media.state != Media.STATE_READY:
        raise MediaNotFound(media_id=media_id)
    return replace(order, media=media, fingerprint=fingerprint(order.config, order.source, media.sha256))


async def find_earlier(resources: Resources, order: Order) -> Made | None:
    """What the key made before, unless its time is over. Raises IdempotencyKeyReused when that was another order, or another's."""
    key = order.client_key
    if key is None or (row := await read_by_key(resources.database, key)) is None:
        return None
    if row.key_expired:
        async with resources.database.transaction() as session:
            await free_expired_key(session, key)
            fault.point("jobs.free_key.before_commit")
        fault.point("jobs.free_key.after_commit")
        return None
    if row.fingerprint != order.fingerprint or row.owner != order.caller.owner:
        raise IdempotencyKeyReused()
    return Made(to_proto(row), replayed=True, claim_token=claim_token(resources, order.caller, row))


def claim_token(resources: Resources, caller: Caller, row: Row[Any]) -> str:
    """The job's token for the guest that submitted it, until it is claimed."""
    return resources.claim_key.token(row.id) if row.claim_digest and is_anonymous(caller) else ""


async def _keep(resources: Resources, order: Order) -> Made:
    """The stored job, or that of another request which took the key first; a hold that has no job then is given back.

    When the outcome of the commit is unknown the hold stays: reconciling finds out later whether there is a job.
    """
    outcome = await store(resources, order)
    if isinstance(outcome, Made):
        return outcome
    fault.point("jobs.create.before_release")
    await release(resources, order.job_id)
    fault.point("jobs.create.after_release")
    if outcome is Refusal.MEDIA_TAKEN:
        raise MediaTaken(media_id=order.media.id)
    return await replay(resources, order, outcome)


async def store(resources: Resources, order: Order) -> Made | Refusal:
    """The job, stored and told, or why there is none."""
    outcome = await resources.intake.store(order)
    if not isinstance(outcome, Job):
        return outcome
    resources.announce(outcome)
    current_span().set(Attribute.JOB_ID, outcome.id)
    return Made(outcome, replayed=False, claim_token=resources.claim_key.token(order.job_id) if order.claim_digest else "")


async def replay(resources: Resources, order: Order, refusal: Refusal) -> Made:
    """The job of the request that took the key first. Raises IdempotencyKeyReused, ServiceUnavailable."""
    if refusal is Refusal.TOO_LATE:
        raise ServiceUnavailable("The order took too long; try again.", service="jobs")
    winner = await find_earlier(resources, order)
    if winner is None:
        raise ServiceUnavailable("The job of this idempotency key was deleted just now; try again.", service="jobs")
    return winner
