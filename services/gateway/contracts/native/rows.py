"""Jobs and keys as the native contract shows them."""

from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.gateway.domain import Client, Json
from services.gateway.endings import failure_of
from steno.billing.v1.api_key_pb2 import ApiKey
from steno.jobs.v1.job_pb2 import Job

STATUSES = {
    Job.STATE_QUEUED: "queued",
    Job.STATE_PROCESSING: "processing",
    Job.STATE_DONE: "done",
    Job.STATE_FAILED: "failed",
    Job.STATE_CANCELLED: "cancelled",
}
SOURCES = {
    "upload": Job.SOURCE_UPLOAD,
    "url": Job.SOURCE_URL,
    "recording": Job.SOURCE_RECORDING,
    "api": Job.SOURCE_API,
}
KINDS = {"workspace": ApiKey.KIND_WORKSPACE, "app": ApiKey.KIND_APP}
_LEAST_PROGRESS = 0.1
_WAITS = {Job.WAITING_FETCH: "fetch", Job.WAITING_UPLOAD: "upload"}
_SOURCE_NAMES = {number: name for name, number in SOURCES.items()}
_KIND_NAMES = {number: name for name, number in KINDS.items()}


def job_row(job: Job, client: Client) -> dict[str, Json]:
    """The status row: the contract's fields, then Steno's own."""
    return {
        "job_id": job.id,
        "status": STATUSES[job.state],
        "progress": round(job.progress, 4),
        "filename": job.filename,
        "title": job.title or None,
        "audio_duration_seconds": round(job.audio_duration_ms / 1000, 3),
        "language": _language(job),
        "source": _SOURCE_NAMES.get(job.source, "upload"),
        "speech_detected": job.speech_detected if job.HasField("speech_detected") else None,
        "speech_ratio": round(job.speech_ratio, 4) if job.HasField("speech_ratio") else None,
        "error": failure_of(job),
        "created_at": epoch(job, "create_time"),
        "error_code": job.error.reason if job.HasField("error") else None,
        "started_at": epoch(job, "start_time"),
        "completed_at": epoch(job, "complete_time"),
        "billed_seconds": round(job.billable_ms / 1000, 3),
        "truncated": job.truncated,
        "engine": job.engine or None,
        "model": job.model or None,
        "tier": client.tier_level,
        "diarize": job.config.diarize,
        "word_timestamps": job.config.word_timestamps,
        "retention_days": job.retention_days,
        "audio_expires_at": epoch(job, "audio_expire_time"),
        "waiting_for": _WAITS.get(job.waiting) if job.state == Job.STATE_QUEUED else None,
        "strict": job.config.strict,
        "estimated_seconds": _estimated_seconds(job, datetime.now(UTC)),
    }


def _estimated_seconds(job: Job, now: datetime) -> float | None:
    """What is left of the work at the pace so far; None before a tenth of it is done, when no window may have been heard yet."""
    if job.state != Job.STATE_PROCESSING or job.progress < _LEAST_PROGRESS or not job.HasField("start_time"):
        return None
    elapsed = (now - job.start_time.ToDatetime(tzinfo=UTC)).total_seconds()
    return round(max(0.0, elapsed) * (1 - job.progress) / job.progress, 1)


def _language(job: Job) -> str | None:
    """What was found; until then, what was asked for."""
    return job.language or (None if job.state == Job.STATE_DONE else job.config.language or None)


def key_row(key: ApiKey) -> dict[str, Json]:
    """A key without its secret."""
    return {
        "id": key.id,
        "name": key.name,
        "key_prefix": key.key_prefix,
        "scopes": list(key.scopes),
        "kind": _KIND_NAMES.get(key.kind, "workspace"),
        "test": key.test,
        "created_at": _rfc3339(key, "create_time"),
        "expires_at": _rfc3339(key, "expire_time"),
        "last_used_at": _rfc3339(key, "last_use_time"),
    }


def epoch(message: Message, field: str) -> float | None:
    """A timestamp as seconds since 1970; None when absent."""
    time: Timestamp = getattr(message, field)
    return round(time.seconds + time.nanos / 1e9, 6) if message.HasField(field) else None


def _rfc3339(message: Message, field: str) -> str | None:
    time: Timestamp = getattr(message, field)
    return time.ToJsonString() if message.HasField(field) else None
