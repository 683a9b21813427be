"""Shapes of the Icana contract, for its documents."""

from typing import Literal

from pydantic import BaseModel, Field

from services.gateway.quality_schemas import Quality

Status = Literal["pending", "processing", "completed", "failed"]


class IcanaFields(BaseModel):
    """What a submit can say beside its file."""

    language: str = Field("en", description="ISO 639-1 code; auto: found out.")
    prompt: str | None = Field(None, description="Words and names to spell, parted by commas; of a long list the end counts.")
    strict: bool = Field(False, description="Steno's own: fail where the transcript would otherwise have a gap.")


class IcanaHeaders(BaseModel):
    """Headers of a submit."""

    idempotency_key: str | None = Field(
        None, alias="Idempotency-Key", pattern=r"^[A-Za-z0-9_.:/-]{1,255}$", description="The same key never makes a second job."
    )


class IcanaAccepted(BaseModel):
    """The answer to a submit."""

    job_id: str
    status: Literal["processing"]
    message: str
    claim_token: str | None = Field(None, description="Only for a guest of an app key: proves whose job it is.")


class IcanaJob(BaseModel):
    """A job; null where a value is not known."""

    id: str
    status: Status
    original_filename: str
    language: str | None
    audio_duration_seconds: int | None
    audio_duration_minutes: float | None
    transcription: str | None = Field(description="Null in lists.")
    diarization: str | None = Field(description="A line per turn, `[Speaker 1]: …`. Null in lists.")
    error_message: str | None
    created_at: str | None
    completed_at: str | None
    quality: Quality | None = Field(description="Steno's own. Null in lists.")


class IcanaJobList(BaseModel):
    """A page of jobs, newest first."""

    items: list[IcanaJob]
    total: int
    page: int
    page_size: int
    has_more: bool


class IcanaListQuery(BaseModel):
    """Query of the list."""

    page: int = Field(1, ge=1)
    page_size: int = Field(20, ge=1, le=100)
    status: Status | None = None


class IcanaUsage(BaseModel):
    """The current billing period; both its dates belong to it."""

    billing_period_start: str
    billing_period_end: str
    included_minutes: float
    minutes_used: float
    minutes_remaining: float
    overage_minutes: float
    overage_rate_cents: int
    estimated_overage_cost_cents: int
    plan_name: str
