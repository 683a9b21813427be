"""Removing audio that has been kept for as long as its owner's plan says; the transcripts stay."""

from datetime import datetime

from services.jobs.store.jobs import read_now
from services.jobs.store.keys import free_expired_keys
from services.jobs.store.removals import order_removal
from services.jobs.store.retention import list_expired_audio, note_removal
from services.jobs.usecases.resources import Resources
from services.mesh import fault, semconv
from services.mesh.telemetry import get_logger


async def expire_audio(resources: Resources, machine_now: datetime) -> int:
    """Orders the removal of audio whose time is over, by the database's clock, and frees the idempotency keys whose time is over.

    Answers how many went of whichever were more: less than a batch means that no more are due.
    machine_now: the time of a clock that no step moves. Where the two differ by much one of them is wrong, and nothing is removed.
    """
    async with resources.database.reading() as session:
        difference = machine_now - await read_now(session)
    if abs(difference) > resources.policy.clock_difference:
        semconv.RETENTION_REFUSALS.inc()
        get_logger("jobs.retention").error("clocks disagree, no audio removed", difference_seconds=difference.total_seconds())
        return 0
    async with resources.database.transaction() as session:
        expired = await list_expired_audio(session, resources.policy.batch_size)
        for row in expired:
            await order_removal(session, "media", row.media_id, row.workspace_id, row.id)
            await note_removal(session, row.id)
        freed_count = await free_expired_keys(session, resources.policy.batch_size)
        fault.point("jobs.retention.before_commit")
    fault.point("jobs.retention.after_commit")
    if expired:
        resources.removals_waiting.set()
    return max(len(expired), freed_count)
