"""Figures over the caller's jobs of a span of time."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from services.jobs.domain import DONE, FAILED
from services.jobs.store.claims import read_claimable
from services.jobs.store.figures import count_accepted
from services.jobs.usecases.access import is_anonymous
from services.jobs.usecases.resources import Resources
from services.mesh.errors import InvalidField
from services.mesh.identity import Caller
from steno.jobs.v1.jobs_service_pb2 import SummarizeJobsRequest, SummarizeJobsResponse

_LAST = datetime(9999, 1, 1, tzinfo=UTC)


async def summarize_jobs(resources: Resources, caller: Caller, request: SummarizeJobsRequest) -> SummarizeJobsResponse:
    """Jobs accepted from start_time on and before end_time; an absent time is no limit. Raises InvalidField."""
    begin = _moment(request.start_time, "start_time")
    before = _moment(request.end_time, "end_time") if request.HasField("end_time") else _LAST
    figures = await _figures(resources, caller, begin, before)
    return SummarizeJobsResponse(
        total_count=sum(count for count, _ in figures.values()),
        done_count=figures.get(DONE, (0, 0))[0],
        failed_count=figures.get(FAILED, (0, 0))[0],
        audio_duration_ms=figures.get(DONE, (0, 0))[1],
    )


async def _figures(resources: Resources, caller: Caller, begin: datetime, before: datetime) -> dict[int, tuple[int, int]]:
    """Per state: how many jobs, and milliseconds of audio. Of a guest's jobs only the one that its claim token proves."""
    async with resources.database.reading() as session:
        if is_anonymous(caller):
            proven = await read_claimable(session, caller.workspace_id, caller.claim_digest, ()) if caller.claim_digest else ()
            return {row.state: (1, row.audio_duration_ms) for row in proven if begin <= row.create_time < before}
        rows = await count_accepted(session, caller.workspace_id, caller.owner, begin, before)
        return {row.state: (int(row.job_count), int(row.audio_ms)) for row in rows}


def _moment(time: Timestamp, field: str) -> datetime:
    """Aware UTC; 1970 for an absent one."""
    try:
        return time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidField(f"{field} is not a time.", field=field) from error
