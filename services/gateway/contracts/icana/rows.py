"""Jobs and usage as the Icana contract shows them."""

from datetime import UTC, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from services.gateway.domain import Json
from services.gateway.endings import error_message
from services.gateway.formats.dialogue import to_dialogue
from services.gateway.formats.quality import transcript_quality
from services.gateway.units import minutes, rfc3339_second
from steno.billing.v1.ledger_pb2 import Usage
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.transcript_pb2 import Transcript

STATES = {
    "pending": (Job.STATE_QUEUED,),
    "processing": (Job.STATE_PROCESSING,),
    "completed": (Job.STATE_DONE,),
    "failed": (Job.STATE_FAILED, Job.STATE_CANCELLED),
}
_STATUSES = {state: name for name, states in STATES.items() for state in states}
_CANCELLED = "The job was cancelled."


def job_row(job: Job, transcript: Transcript | None) -> dict[str, Json]:
    """Every key of a job, None where not known. transcript: of a job that is done; None leaves its texts and their quality out."""
    done = job.state == Job.STATE_DONE
    return {
        "id": job.id,
        "status": _STATUSES[job.state],
        "original_filename": job.filename,
        "language": job.language or job.config.language or None,
        "audio_duration_seconds": round(job.audio_duration_ms / 1000) if done else None,
        "audio_duration_minutes": minutes(job.audio_duration_ms) if done else None,
        "transcription": transcript.text if transcript is not None else None,
        "diarization": to_dialogue(transcript) if transcript is not None else None,
        "error_message": error_message(job, _CANCELLED),
        "created_at": rfc3339_second(job, "create_time"),
        "completed_at": rfc3339_second(job, "complete_time"),
        "quality": transcript_quality(transcript) if transcript is not None else None,
    }


def usage_row(usage: Usage) -> dict[str, Json]:
    """The billing period with its last day included, minutes to two decimals, money in cents."""
    return {
        "billing_period_start": _day(usage.start_time),
        "billing_period_end": _day(usage.end_time, timedelta(days=-1)),
        "included_minutes": _minutes(usage.included_ms),
        "minutes_used": _minutes(usage.used_ms),
        "minutes_remaining": _minutes(usage.remaining_ms),
        "overage_minutes": _minutes(usage.overage_ms),
        "overage_rate_cents": usage.plan.overage_cents_per_minute,
        "estimated_overage_cost_cents": usage.overage_cents,
        "plan_name": usage.plan.title or usage.plan.name,
    }


def _minutes(milliseconds: int) -> int | float:
    """Whole minutes as a whole number, for clients that read an integer."""
    amount = minutes(milliseconds)
    return int(amount) if amount.is_integer() else amount


def _day(time: Timestamp, moved: timedelta = timedelta(0)) -> str:
    return (time.ToDatetime(tzinfo=UTC) + moved).date().isoformat()
