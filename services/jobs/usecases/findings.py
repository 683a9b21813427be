"""What was found in files, read back as far as it fits an answer."""

from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncSession

from services.jobs.detection import MAX_PARTS
from services.jobs.store.inference_files import list_parts, measure_parts
from steno.inference.v1.checkpoints_pb2 import Detections
from steno.jobs.v1.detector_pb2 import Detection

# An answer has at most 4 MiB; the rest is for a thousand files.
_MAX_BYTES = 5 << 19


async def order_detections(session: AsyncSession, workspace_id: str, order_id: str) -> dict[str, list[Detection]]:
    """What was found in each file of an order, by id; files past what fits an answer are left out whole."""
    room, fitting = _MAX_BYTES, []
    for job_id, size_bytes in (await measure_parts(session, workspace_id, order_id)).items():
        if size_bytes <= room:
            room -= size_bytes
            fitting.append(job_id)
    found: dict[str, list[Detection]] = {job_id: [] for job_id in fitting}
    for row in await list_parts(session, workspace_id, fitting, len(fitting) * MAX_PARTS):
        found[row.job_id].extend(Detections.FromString(row.detections).detections)
    return found


async def file_detections(session: AsyncSession, workspace_id: str, job_id: str) -> list[Detection]:
    """What was found in one file, from its start on; what does not fit an answer is left out."""
    return list(_fitting(row.detections for row in await list_parts(session, workspace_id, [job_id], MAX_PARTS)))


def _fitting(parts: Iterable[bytes]) -> Iterable[Detection]:
    room = _MAX_BYTES
    for part in parts:
        room -= len(part)
        if room < 0:
            return
        yield from Detections.FromString(part).detections
