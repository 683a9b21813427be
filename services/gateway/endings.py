"""How a job that brought no transcript is told."""

from steno.jobs.v1.job_pb2 import Job


def failure_of(job: Job) -> str | None:
    """What went wrong with a job; None when nothing did."""
    return (job.error.message or job.error.reason) if job.HasField("error") else None


def error_message(job: Job, cancelled: str) -> str | None:
    """What went wrong, for contracts that take a cancelled job for a failed one. cancelled: what they say of it."""
    return cancelled if job.state == Job.STATE_CANCELLED else failure_of(job)
