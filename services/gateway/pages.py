"""Numbered pages of jobs, as contracts with `page` have them."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

from services.gateway.requests import read_number
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.jobs_service_pb2 import ListJobsRequest
from steno.jobs.v1.jobs_service_pb2_grpc import JobsServiceAsyncStub

DEFAULT_SIZE = 20
MAX_SIZE = 100
_MAX_NUMBER = 999_999_999
_MAX_SKIP = 2**31 - 1


@dataclass(frozen=True, slots=True)
class PageQuery:
    """Which page is asked for. number: from 1. size: items on each."""

    number: int
    size: int

    @property
    def skip(self) -> int:
        """Items on the pages before it."""
        return (self.number - 1) * self.size


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first. total: how many there are on every page together."""

    jobs: Sequence[Job]
    total: int


def read_page(request: Request, size_name: str) -> PageQuery:
    """The query parameters `page` and the one of this name. Raises Refusal."""
    number = read_number(request, "page", default=1, least=1, most=_MAX_NUMBER)
    return PageQuery(number, read_number(request, size_name, default=DEFAULT_SIZE, least=1, most=MAX_SIZE))


async def list_page(jobs: JobsServiceAsyncStub, page: PageQuery, states: Sequence[Job.State.ValueType]) -> JobPage:
    """The caller's jobs in these states, all when none are named; nobody has more pages than an int32 counts. Raises RemoteError."""
    if page.skip > _MAX_SKIP:
        answer = await jobs.ListJobs(ListJobsRequest(page_size=1, states=states))
        return JobPage((), answer.total_size)
    answer = await jobs.ListJobs(ListJobsRequest(page_size=page.size, skip=page.skip, states=states))
    return JobPage(tuple(answer.jobs), answer.total_size)
