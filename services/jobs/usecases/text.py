"""Following the text of a job while its windows are finished."""

from collections.abc import AsyncIterator, Sequence

from google.protobuf.message import DecodeError

from services.jobs.domain import ENDED
from services.jobs.store.jobs import to_proto
from services.jobs.store.windows import list_windows
from services.jobs.usecases.access import read_own
from services.jobs.usecases.resources import Resources
from services.mesh.identity import Caller
from services.mesh.telemetry import get_logger
from steno.inference.v1.window_transcript_pb2 import WindowTranscript
from steno.jobs.v1.jobs_service_pb2 import WatchTextResponse

_WINDOWS_AT_ONCE = 8


async def watch_text(resources: Resources, caller: Caller, job_id: str) -> AsyncIterator[WatchTextResponse]:
    """The text of finished windows in their order, each once those before it are finished, until the job has ended.

    Raises JobNotFound, AuthenticationRequired.
    """
    with resources.changes.subscribe(job_id) as subscription:
        job = to_proto(await read_own(resources.database, caller, job_id))
        told_index = -1
        while True:
            # What a job that has ended left out will not come any more.
            contiguous = job.state not in ENDED
            while windows := await _next_windows(resources, job_id, told_index, contiguous=contiguous):
                for _, window in windows:
                    if piece := _piece(window):
                        yield piece
                told_index = windows[-1][0]
            if not contiguous:
                return
            job = await subscription.next()


async def _next_windows(resources: Resources, job_id: str, after_index: int, *, contiguous: bool) -> Sequence[tuple[int, bytes]]:
    async with resources.database.reading() as session:
        rows = await list_windows(session, job_id, after_index, _WINDOWS_AT_ONCE)
    found = [(int(row.place), bytes(row.window)) for row in rows]
    if not contiguous:
        return found
    return [item for place, item in enumerate(found, after_index + 1) if item[0] == place]


def _piece(window: bytes) -> WatchTextResponse | None:
    """None for a window without text; one that cannot be read is the worker's affair."""
    try:
        transcript = WindowTranscript.FromString(window)
    except DecodeError:
        get_logger("jobs.text").warning("window cannot be read")
        return None
    text = " ".join(word.text for word in transcript.words if word.text)
    return WatchTextResponse(text=text, start_offset_ms=transcript.start_offset_ms) if text else None
