"""Files of inference orders: announced, uploaded, confirmed, read."""

from functools import partial
from typing import Any

import grpc
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.detection import check_file, check_file_count, rate_percent
from services.jobs.domain import DETECTION, UPLOAD, FileNotFound, JobAlreadyEnded, UploadExpired, UploadIncomplete, check_plan
from services.jobs.store.inference_files import count_files, file_proto, insert_file, read_file
from services.jobs.store.jobs import insert_job
from services.jobs.usecases.access import known
from services.jobs.usecases.arrival import hold_share, make_ready
from services.jobs.usecases.completion import take_in
from services.jobs.usecases.detectors import active_detector
from services.jobs.usecases.findings import file_detections
from services.jobs.usecases.inference_orders import open_order, own_order
from services.jobs.usecases.peers import check_credit, plan_of_caller, reaching
from services.jobs.usecases.resources import Resources
from services.jobs.usecases.waiting import abort_upload
from services.mesh import fault
from services.mesh.identity import Caller, acting_for
from services.mesh.ids import new_id
from services.mesh.status import RemoteError, is_remote
from steno.billing.v1.workspace_pb2 import Plan
from steno.jobs.v1.detection_job_pb2 import InferenceFile
from steno.jobs.v1.detection_jobs_service_pb2 import BeginInferenceFileRequest
from steno.jobs.v1.detector_pb2 import DetectionTask, InferenceConfig
from steno.jobs.v1.job_pb2 import Job
from steno.storage.v1.media_pb2 import Media, SignedUrl, UploadForm
from steno.storage.v1.storage_service_pb2 import BeginUploadRequest, SignMediaUrlRequest, SignUploadFormRequest


async def begin_file(resources: Resources, caller: Caller, request: BeginInferenceFileRequest) -> tuple[InferenceFile, UploadForm]:
    """An announced file with the form to send its bytes with; what it costs is fixed from now on.

    Raises InferenceJobNotFound, JobAlreadyEnded, ModelNotFound, ModelInactive, InvalidField, UnsupportedMedia, MediaTooLarge, NoCredits,
    AuthenticationRequired, ServiceUnavailable.
    """
    known(caller)
    async with resources.database.reading() as session:
        await _check_open(session, caller, request.inference_job_id)
    check_file(request.filename, request.content_type, request.size_bytes)
    plan = await plan_of_caller(resources)
    check_plan(plan, Media(size_bytes=request.size_bytes))
    if rate_percent(plan):
        await check_credit(resources, caller, plan)
    media, form = await _begin_upload(resources, request)
    fault.point("jobs.begin_file.before_store")
    try:
        row = await _store(resources, caller, request, media, plan)
    except Exception:
        await abort_upload(resources, media.id)
        raise
    fault.point("jobs.begin_file.after_store")
    return file_proto(row), form


async def _check_open(session: AsyncSession, caller: Caller, order_id: str, *, hold: bool = False) -> tuple[Row[Any], Row[Any]]:
    """The order and its detector, if another file can be announced."""
    order = await open_order(session, caller, order_id, hold=hold)
    detector = await active_detector(session, caller, order.detector_id, hold=hold)
    check_file_count(await count_files(session, order.workspace_id, order.id))
    return order, detector


async def _begin_upload(resources: Resources, request: BeginInferenceFileRequest) -> tuple[Media, UploadForm]:
    """Announced media, with a form that takes exactly so many bytes."""
    size_bytes = request.size_bytes
    with reaching("storage"):
        begun = await resources.storage.BeginUpload(BeginUploadRequest(filename=request.filename, max_size_bytes=size_bytes))
        wanted = SignUploadFormRequest(
            media_id=begun.media.id, content_type=request.content_type, min_size_bytes=size_bytes, max_size_bytes=size_bytes
        )
        return begun.media, (await resources.storage.SignUploadForm(wanted)).upload_form


async def _store(resources: Resources, caller: Caller, request: BeginInferenceFileRequest, media: Media, plan: Plan) -> Row[Any]:
    async with resources.database.transaction() as session:
        order, detector = await _check_open(session, caller, request.inference_job_id, hold=True)
        job_id = await _insert_job(session, caller, media, _task(order, detector), plan.retention_days)
        rate, size_bytes = rate_percent(plan), request.size_bytes
        await insert_file(session, job_id, order.workspace_id, order.id, rate_percent=rate, size_bytes=size_bytes)
        row = await _own_file(session, caller, order.id, job_id)
        fault.point("jobs.begin_file.before_commit")
    return row


def _task(order: Row[Any], detector: Row[Any]) -> DetectionTask:
    return DetectionTask(
        inference_job_id=order.id,
        model_id=detector.id,
        detector_artefact_id=detector.artefact_id,
        config=InferenceConfig.FromString(order.config),
    )


async def _insert_job(session: AsyncSession, caller: Caller, media: Media, task: DetectionTask, retention_days: int) -> str:
    row = await insert_job(
        session,
        id=new_id(),
        kind=DETECTION,
        workspace_id=caller.workspace_id,
        owner=caller.owner,
        source=Job.SOURCE_UPLOAD,
        media_id=media.id,
        media_sha256="",
        filename=media.filename,
        audio_duration_ms=0,
        held_ms=0,
        config=task.SerializeToString(),
        wallet_id=caller.wallet_id,
        waiting=UPLOAD,
        retention_days=retention_days,
    )
    return str(row.id)


async def _own_file(session: AsyncSession, caller: Caller, order_id: str, file_id: str) -> Row[Any]:
    row = await read_file(session, caller.workspace_id, order_id, file_id)
    if row is None:
        raise FileNotFound(file_id=file_id)
    return row


async def confirm_file(resources: Resources, caller: Caller, order_id: str, file_id: str) -> InferenceFile:
    """The file, waiting for a worker, or failed when its bytes are no audio; idempotent.

    Raises InferenceJobNotFound, FileNotFound, JobAlreadyEnded once the order is cancelled, AuthenticationRequired, ServiceUnavailable,
    storage's UPLOAD_INCOMPLETE and MEDIA_TOO_LONG, and billing's refusals; of these all but the first end the file.
    """
    known(caller)
    async with resources.completions.of(file_id):
        async with resources.database.reading() as session:
            await open_order(session, caller, order_id)
            row = await _own_file(session, caller, order_id, file_id)
        if row.waiting == UPLOAD:
            await _take_in(resources, row)
    return await get_file(resources, caller, order_id, file_id, allow_cancelled=False)


async def _take_in(resources: Resources, row: Row[Any]) -> None:
    """Whoever confirms, who announced the file pays."""
    with acting_for(row.workspace_id, row.owner, row.wallet_id):
        try:
            arrival = await take_in(resources, row, partial(hold_share, rate_percent=row.rate_percent))
        except UploadExpired:
            return
        except RemoteError as error:
            # The file has ended with the reason, which it shows.
            if error.code is grpc.StatusCode.INVALID_ARGUMENT and not is_remote(error, "MEDIA_TOO_LONG"):
                return
            raise
        await make_ready(resources, row, arrival)


async def get_file(resources: Resources, caller: Caller, order_id: str, file_id: str, *, allow_cancelled: bool = True) -> InferenceFile:
    """One file with what was found in it. Raises InferenceJobNotFound, FileNotFound, AuthenticationRequired; else JobAlreadyEnded."""
    known(caller)
    async with resources.database.reading() as session:
        order = await own_order(session, caller, order_id)
        if order.cancel_time is not None and not allow_cancelled:
            raise JobAlreadyEnded(inference_job_id=order_id)
        row = await _own_file(session, caller, order_id, file_id)
        return file_proto(row, await file_detections(session, row.workspace_id, row.id))


async def sign_file_url(resources: Resources, caller: Caller, order_id: str, file_id: str) -> SignedUrl:
    """Where to read a file from for a short while.

    Raises InferenceJobNotFound, FileNotFound, also once its bytes are gone, UploadIncomplete, AuthenticationRequired, ServiceUnavailable.
    """
    known(caller)
    async with resources.database.reading() as session:
        await own_order(session, caller, order_id)
        row = await _own_file(session, caller, order_id, file_id)
    if row.waiting == UPLOAD:
        raise UploadIncomplete(file_id=file_id)
    try:
        with reaching("storage"):
            return (await resources.storage.SignMediaUrl(SignMediaUrlRequest(media_id=row.media_id))).download_url
    except RemoteError as error:
        if is_remote(error, "MEDIA_NOT_FOUND"):
            raise FileNotFound("The bytes of the file are gone.", file_id=file_id) from error
        raise
