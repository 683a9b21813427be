"""Ordering a detector's run over files, reading and ending orders."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from google.protobuf.message import Message
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.detection import ENDED_STATES, accepted_inference, read_place
from services.jobs.domain import READY, InferenceJobNotFound, JobAlreadyEnded
from services.jobs.store.announcements import take_all_announced
from services.jobs.store.inference_files import cancel_files, file_proto, list_files, lock_unended
from services.jobs.store.inference_orders import end_order, insert_order, list_orders, order_proto, read_order, sum_files
from services.jobs.store.jobs import read_now, to_proto
from services.jobs.store.removals import order_removals
from services.jobs.store.tables import outbox
from services.jobs.store.windows import delete_all_windows
from services.jobs.usecases.access import known
from services.jobs.usecases.detectors import active_detector
from services.jobs.usecases.endings import may_be_held
from services.jobs.usecases.findings import order_detections
from services.jobs.usecases.resources import Resources
from services.mesh import fault
from services.mesh.identity import Caller
from services.mesh.ids import new_id
from services.mesh.outbox import publish_all_later
from services.mesh.streams import event_subject
from steno.jobs.v1.detection_job_pb2 import InferenceJob
from steno.jobs.v1.detection_jobs_service_pb2 import CreateInferenceJobRequest
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_events_pb2 import JobCancelled


async def create_order(resources: Resources, caller: Caller, request: CreateInferenceJobRequest) -> InferenceJob:
    """An order without files. Raises ModelNotFound, ModelInactive, InvalidField, AuthenticationRequired."""
    known(caller)
    config = accepted_inference(request.config)
    async with resources.database.transaction() as session:
        detector = await active_detector(session, caller, request.model_id, hold=True)
        row = await insert_order(session, new_id(), caller.workspace_id, caller.owner, detector.id, config)
        order = await _told(session, row)
        fault.point("jobs.create_order.before_commit")
    return order


async def _told(session: AsyncSession, row: Row[Any]) -> InferenceJob:
    return order_proto(row, (await sum_files(session, row.workspace_id, [row.id]))[row.id])


async def own_order(session: AsyncSession, caller: Caller, order_id: str, *, hold: bool = False) -> Row[Any]:
    """An order of the caller; `hold` keeps it as it is until the transaction ends. Raises InferenceJobNotFound."""
    row = await read_order(session, caller.workspace_id, caller.owner, order_id, hold=hold)
    if row is None:
        raise InferenceJobNotFound(inference_job_id=order_id)
    return row


async def open_order(session: AsyncSession, caller: Caller, order_id: str, *, hold: bool = False) -> Row[Any]:
    """The same of one that was not cancelled. Raises InferenceJobNotFound, JobAlreadyEnded."""
    row = await own_order(session, caller, order_id, hold=hold)
    if row.cancel_time is not None:
        raise JobAlreadyEnded(inference_job_id=order_id)
    return row


async def get_order(resources: Resources, caller: Caller, order_id: str) -> InferenceJob:
    """One order with its files and what was found in them, as far as that fits an answer.

    Raises InferenceJobNotFound, AuthenticationRequired.
    """
    known(caller)
    async with resources.database.reading() as session:
        row = await own_order(session, caller, order_id)
        order = await _told(session, row)
        files = await list_files(session, row.workspace_id, row.id)
        found = await order_detections(session, row.workspace_id, row.id)
    order.files.extend(file_proto(file, found.get(file.id, ())) for file in files)
    return order


async def list_page(resources: Resources, caller: Caller, page: int, page_size: int) -> tuple[list[InferenceJob], int]:
    """A page of the caller's orders without files, newest first, and how many there are on all.

    Raises InvalidField, AuthenticationRequired.
    """
    known(caller)
    place = read_place(page, page_size)
    async with resources.database.reading() as session:
        rows, total = await list_orders(session, caller.workspace_id, caller.owner, place)
        sums = await sum_files(session, caller.workspace_id, [row.id for row in rows])
    return [order_proto(row, sums[row.id]) for row in rows], total


async def cancel_order(resources: Resources, caller: Caller, order_id: str) -> InferenceJob:
    """Ends an order with its files that have not ended, uncharged. Raises InferenceJobNotFound, JobAlreadyEnded, AuthenticationRequired."""
    known(caller)
    async with resources.database.transaction() as session:
        row = await own_order(session, caller, order_id, hold=True)
        if (await _told(session, row)).state in ENDED_STATES:
            raise JobAlreadyEnded(inference_job_id=order_id)
        ended = await end_order(session, row.workspace_id, row.id)
        jobs = await _cancel_files(session, row, await read_now(session))
        order = await _told(session, ended)
        fault.point("jobs.cancel_order.before_commit")
    fault.point("jobs.cancel_order.after_commit")
    for job in jobs:
        resources.announce(job)
    return order


async def _cancel_files(session: AsyncSession, order: Row[Any], now: datetime) -> list[Job]:
    """As cancel_job does, for all files at once: an order may have a thousand."""
    files = await lock_unended(session, order.workspace_id, order.id)
    if not files:
        return []
    ids = [file.id for file in files]
    rows = await cancel_files(session, order.workspace_id, ids, now)
    await delete_all_windows(session, ids)
    gone = [("media", file.media_id, file.id) for file in files]
    gone += [("artefact", announced.artefact_id, announced.job_id) for announced in await take_all_announced(session, ids)]
    names = ("kind", "resource_id", "job_id")
    await order_removals(session, [dict(zip(names, item, strict=True)) | {"workspace_id": order.workspace_id} for item in gone])
    await publish_all_later(session, outbox, _endings(files))
    return [to_proto(row) for row in rows]


def _endings(files: Sequence[Row[Any]]) -> list[tuple[str, Message]]:
    """The events of the files; each as it was before."""
    subject = event_subject("jobs", JobCancelled)
    held = [file for file in files if may_be_held(file)]
    return [(subject, JobCancelled(job_id=file.id, workspace_id=file.workspace_id, without_media=file.waiting != READY)) for file in held]
