"""Comparing billing's open holds with the jobs they were taken for."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto

from google.protobuf.timestamp_pb2 import Timestamp

from services.jobs.domain import DONE, ENDED
from services.jobs.store.jobs import read_job, read_now
from services.jobs.store.removals import read_tombstone
from services.jobs.usecases.peers import NO_ANSWER
from services.jobs.usecases.resources import Resources
from services.mesh import fault, semconv
from services.mesh.identity import acting_for
from services.mesh.status import RemoteError
from services.mesh.telemetry import get_logger
from steno.billing.v1.billing_service_pb2 import ListOpenHoldsRequest, ReleaseRequest, SettleRequest
from steno.billing.v1.ledger_pb2 import Hold

_CLOSED_ELSEWHERE = frozenset({"HOLD_NOT_FOUND", "HOLD_ALREADY_SETTLED", "HOLD_ALREADY_RELEASED"})
_PAGES_AT_ONCE = 20


class Verdict(Enum):
    """What becomes of an open hold."""

    KEEP = auto()
    SETTLE = auto()
    RELEASE = auto()
    FREE = auto()
    """Release: there is no job."""


@dataclass
class HoldWalk:
    """A walk through the open holds. token: the page to go on with, empty for the first; verdicts: so far."""

    token: str = ""
    verdicts: Counter[Verdict] = field(default_factory=Counter)

    def tell(self) -> None:
        """The metrics of a walk that came to its end."""
        semconv.OPEN_HOLDS_WITHOUT_JOB.set(self.verdicts[Verdict.FREE])
        semconv.ENDED_JOBS_WITHOUT_SETTLEMENT.set(self.verdicts[Verdict.SETTLE] + self.verdicts[Verdict.RELEASE])


async def reconcile_holds(resources: Resources, walk: HoldWalk) -> HoldWalk:
    """Closes open holds, from where the walk is, whose job has ended or never was; answers the walk to go on with.

    Raises RemoteError when billing does not answer.
    """
    async with resources.database.reading() as session:
        now = await read_now(session)
    before = Timestamp()
    before.FromDatetime(now - resources.policy.open_hold_age)
    for _ in range(_PAGES_AT_ONCE):
        request = ListOpenHoldsRequest(create_time_before=before, page_size=resources.policy.batch_size, page_token=walk.token)
        page = await resources.billing.ListOpenHolds(request)
        walk.verdicts += Counter([await _close(resources, hold, now) for hold in page.holds])
        walk.token = page.next_page_token
        if not walk.token:
            walk.tell()
            return HoldWalk()
    return walk


async def _close(resources: Resources, hold: Hold, now: datetime) -> Verdict:
    verdict, billable_ms = await _judge(resources, hold, now)
    if verdict is not Verdict.KEEP:
        await _end(resources, hold, verdict, billable_ms)
    return verdict


async def _end(resources: Resources, hold: Hold, verdict: Verdict, billable_ms: int) -> None:
    fault.point("jobs.reconcile.before_close")
    try:
        with acting_for(hold.workspace_id):
            if verdict is Verdict.SETTLE:
                await resources.billing.Settle(SettleRequest(job_id=hold.job_id, billable_ms=billable_ms))
            else:
                await resources.billing.Release(ReleaseRequest(job_id=hold.job_id))
    except RemoteError as error:
        if error.code in NO_ANSWER:
            raise
        if error.reason_name not in _CLOSED_ELSEWHERE:
            # The next turn asks again; the holds behind this one do not wait for it.
            get_logger("jobs.reconcile").error("open hold not closed", job_id=hold.job_id, reason=error.reason_name)
        return
    fault.point("jobs.reconcile.after_close")
    get_logger("jobs.reconcile").warning("open hold closed", job_id=hold.job_id, verdict=verdict.name)


def _orphan_time(resources: Resources, hold: Hold) -> datetime:
    """From when on a hold without a job is nobody's: the time up to which its holder renewed it, else by its age."""
    if hold.HasField("expire_time"):
        return hold.expire_time.ToDatetime(tzinfo=UTC)
    return hold.create_time.ToDatetime(tzinfo=UTC) + resources.policy.orphan_hold_age


async def _judge(resources: Resources, hold: Hold, now: datetime) -> tuple[Verdict, int]:
    async with resources.database.reading() as session:
        ended = await read_job(session, hold.job_id) or await read_tombstone(session, hold.job_id)
    if ended is None:
        return (Verdict.FREE if now > _orphan_time(resources, hold) else Verdict.KEEP), 0
    if ended.state not in ENDED:
        return Verdict.KEEP, 0
    return (Verdict.SETTLE, ended.billable_ms) if ended.state == DONE else (Verdict.RELEASE, 0)
