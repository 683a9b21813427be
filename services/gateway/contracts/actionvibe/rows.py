"""Transcriptions as the ActionVibe contract shows them."""

from services.gateway.domain import Json
from services.gateway.endings import error_message
from services.gateway.formats.quality import transcript_quality
from services.gateway.pages import JobPage, PageQuery
from services.gateway.units import rfc3339_second
from steno.jobs.v1.job_pb2 import Job
from steno.jobs.v1.transcript_pb2 import Transcript

_PROCESSING = (Job.STATE_QUEUED, Job.STATE_PROCESSING)
_FAILED = (Job.STATE_FAILED, Job.STATE_CANCELLED)
STATES: dict[str, tuple[Job.State.ValueType, ...]] = {
    "all": (),
    "processing": _PROCESSING,
    "completed": (Job.STATE_DONE,),
    "failed": _FAILED,
}
_STATUSES = {state: name for name, states in STATES.items() for state in states}
_CANCELLED = "The transcription was cancelled."
_MS_PER_MINUTE = 60_000
_FASTEST = 10


def list_row(job: Job) -> dict[str, Json]:
    """A transcription in a list; one from another contract, without a title, goes by its file's name."""
    return {
        "id": job.id,
        "title": job.title or job.filename,
        "status": _STATUSES[job.state],
        "created_at": rfc3339_second(job, "create_time"),
    }


def full_row(job: Job, transcript: Transcript | None, summary: str | None, file_size: int | None) -> dict[str, Json]:
    """Every key of a transcription, None where not known."""
    return {
        "id": job.id,
        "title": job.title or job.filename,
        "content": transcript.text if transcript is not None else None,
        "summary": summary,
        "status": _STATUSES[job.state],
        "language": job.language or job.config.language or None,
        "file_size": file_size,
        "duration": round(job.audio_duration_ms / 1000) if job.audio_duration_ms else None,
        "error_message": error_message(job, _CANCELLED),
        "created_at": rfc3339_second(job, "create_time"),
        "updated_at": _updated(job),
        "quality": transcript_quality(transcript) if transcript is not None else None,
    }


def list_document(page: PageQuery, found: JobPage) -> dict[str, Json]:
    """A page of transcriptions and where it lies."""
    return {
        "transcriptions": [list_row(job) for job in found.jobs],
        "pagination": {
            "page": page.number,
            "limit": page.size,
            "total_count": found.total,
            "total_pages": -(-found.total // page.size),
        },
    }


def estimated_time(audio_duration_ms: int) -> str:
    """A range of whole minutes for the work itself: from ten times as fast as the audio plays to as fast, at least 1-2."""
    least = max(1, -(-audio_duration_ms // (_FASTEST * _MS_PER_MINUTE)))
    most = max(least + 1, -(-audio_duration_ms // _MS_PER_MINUTE))
    return f"{least}-{most} minutes"


def _updated(job: Job) -> str | None:
    """When it last entered a state."""
    times = (rfc3339_second(job, name) for name in ("complete_time", "start_time", "create_time"))
    return next((time for time in times if time), None)
