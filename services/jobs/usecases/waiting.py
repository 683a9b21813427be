"""Accepting an order before its media is there: it is to be fetched from a URL, or its client will upload it."""

import time
from dataclasses import replace

from services.jobs.domain import FETCH, UPLOAD, fingerprint, url_filename
from services.jobs.usecases.create import Made, begin_order, find_earlier, replay, store
from services.jobs.usecases.intake import Order
from services.jobs.usecases.peers import check_credit, plan_of_caller, reaching
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.egress.urls import check_url
from services.mesh.errors import InvalidField
from services.mesh.identity import Caller
from services.mesh.ids import new_id
from services.mesh.status import RemoteError, is_remote
from services.mesh.telemetry import get_logger
from steno.billing.v1.workspace_pb2 import Plan
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import CreateJobRequest
from steno.storage.v1.media_pb2 import Media, SignedUrl
from steno.storage.v1.storage_service_pb2 import AbortUploadRequest, BeginUploadRequest, SignUploadRequest


async def create_from_url(resources: Resources, caller: Caller, request: CreateJobRequest) -> Made:
    """A job that waits for its media to be fetched, or the one that an earlier request with the same key made.

    Raises as create_from_media, and InvalidUrl.
    """
    url = check_url(request.url, resources.networks)
    order = begin_order(resources, caller, request)
    order = replace(order, url=url, waiting=FETCH, fingerprint=fingerprint(order.config, order.source, f"url:{url}"))
    if (earlier := await find_earlier(resources, order)) is not None:
        return earlier
    plan = await plan_of_caller(resources)
    await check_credit(resources, caller, plan)
    media = Media(id=new_id(), filename=url_filename(url))
    fault.point("jobs.create_from_url.before_store")
    outcome = await store(resources, _waiting(order, media, plan))
    fault.point("jobs.create_from_url.before_reply")
    return outcome if isinstance(outcome, Made) else await replay(resources, order, outcome)


async def create_for_upload(resources: Resources, caller: Caller, request: CreateJobRequest) -> Made:
    """A job that waits for its client's upload, with the URL to send it to, or that of an earlier request with the same key.

    Raises as create_from_media.
    """
    if request.upload.max_size_bytes < 0:
        raise InvalidField("max_size_bytes is 0 or more.", field="upload.max_size_bytes")
    order = begin_order(resources, caller, request)
    origin = fingerprint(order.config, order.source, f"upload:{request.upload.filename}")
    order = replace(order, waiting=UPLOAD, fingerprint=origin)
    plan = await plan_of_caller(resources)
    size_bytes = _least(request.upload.max_size_bytes, plan.max_upload_bytes)
    if (earlier := await find_earlier(resources, order)) is not None:
        return await _signed(resources, earlier, size_bytes)
    await check_credit(resources, caller, plan)
    with reaching("storage"):
        begun = await resources.storage.BeginUpload(BeginUploadRequest(filename=request.upload.filename, max_size_bytes=size_bytes))
    fault.point("jobs.create_for_upload.before_store")
    outcome = await store(resources, _waiting(order, begun.media, plan))
    fault.point("jobs.create_for_upload.after_store")
    if isinstance(outcome, Made):
        return replace(outcome, upload_url=begun.upload_url)
    await abort_upload(resources, begun.media.id)
    return await _signed(resources, await replay(resources, order, outcome), size_bytes)


def _waiting(order: Order, media: Media, plan: Plan) -> Order:
    return replace(order, media=media, retention_days=plan.retention_days, reserve_time=time.monotonic())


def _least(asked: int, limit: int) -> int:
    """The lower of two limits; 0 is none."""
    return min(asked or limit, limit or asked)


async def _signed(resources: Resources, made: Made, size_bytes: int) -> Made:
    """With a fresh URL, while the job still waits for its upload."""
    if made.job.waiting != UPLOAD:
        return made
    return replace(made, upload_url=await _sign(resources, made.job, size_bytes))


async def _sign(resources: Resources, job: Job, size_bytes: int) -> SignedUrl | None:
    try:
        with reaching("storage"):
            return (await resources.storage.SignUpload(SignUploadRequest(media_id=job.media_id, max_size_bytes=size_bytes))).upload_url
    except RemoteError as error:
        # Complete by now, or too old: the job tells.
        if is_remote(error, "MEDIA_NOT_FOUND"):
            return None
        raise


async def abort_upload(resources: Resources, media_id: str) -> None:
    """Storage may forget announced media. When that fails, it does so by itself later."""
    try:
        await resources.storage.AbortUpload(AbortUploadRequest(media_id=media_id))
    except RemoteError as error:
        # Storage forgets it by itself later.
        get_logger("jobs.waiting").warning("upload not aborted", media_id=media_id, reason=error.reason_name)
