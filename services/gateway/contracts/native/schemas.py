"""Shapes of the native contract, for its documents and for reading what clients send."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, field_validator

Status = Literal["queued", "processing", "done", "failed", "cancelled"]
SourceName = Literal["upload", "url", "recording", "api"]
ScopeName = Literal["read", "write", "admin", "act_as_user"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Accepted(BaseModel):
    """The answer to a submit."""

    job_id: str
    status: Status
    tier: int
    claim_token: str | None = Field(None, description="Only for a guest's submit: proves whose job it is.")


class JobRow(BaseModel):
    """Where a job stands; unknown values are null."""

    job_id: str
    status: Status
    progress: float = Field(ge=0, le=1)
    filename: str
    audio_duration_seconds: float
    language: str | None
    source: SourceName
    speech_detected: bool | None
    speech_ratio: float | None
    error: str | None
    created_at: float | None
    error_code: str | None
    started_at: float | None
    completed_at: float | None
    billed_seconds: float
    truncated: bool
    engine: str | None
    model: str | None
    tier: int
    diarize: bool
    word_timestamps: bool


class TranscriptWord(BaseModel):
    """One word with its times in seconds."""

    model_config = ConfigDict(extra="allow")

    start: float
    end: float
    text: str


class TranscriptSegment(BaseModel):
    """A stretch of speech of one speaker; times in seconds."""

    model_config = ConfigDict(extra="allow")

    start: float
    end: float
    text: str
    speaker: str | None = None
    words: list[TranscriptWord] = Field(default_factory=list)


class TranscriptDocument(BaseModel):
    """The transcript in full."""

    model_config = ConfigDict(extra="allow")

    text: str
    language: str | None
    segments: list[TranscriptSegment]
    speech_detected: bool
    speech_ratio: float
    suggestion: str | None = Field(None, description="Only when there was no speech to transcribe.")


class PlaybackUrl(BaseModel):
    """Where audio can be played from for a while."""

    url: str
    storage: str = Field(description="\"disk\": a path below the API's root; else the object store's name, and the URL is complete.")
    expires_in: int = Field(ge=0, description="Seconds.")


class Me(BaseModel):
    """What the server sees in the request."""

    email: str | None
    tier: Literal["guest", "free", "paid"]
    retention_days: int
    signed_in: bool


class Credits(BaseModel):
    """A balance in hours of audio."""

    plan: str
    tier: Literal["guest", "free", "paid"]
    available_hours: float
    held_hours: float
    used_hours: float
    granted_hours: float


class KeyRow(BaseModel):
    """An API key without its secret."""

    id: str
    name: str
    key_prefix: str
    scopes: list[str]
    kind: Literal["workspace", "app"]
    test: bool
    created_at: str | None
    expires_at: str | None
    last_used_at: str | None


class CreatedKey(KeyRow):
    """A new API key with its secret, shown this once."""

    key: str


class NewKey(BaseModel):
    """An API key to make."""

    name: Name
    expires_at: AwareDatetime | None = None
    kind: Literal["workspace", "app"] = "workspace"
    test: bool = False
    scopes: list[ScopeName] = Field(default_factory=list, max_length=4)

    @field_validator("expires_at")
    @classmethod
    def _in_the_future(cls, value: datetime | None) -> datetime | None:
        if value is not None and value <= datetime.now(UTC):
            raise ValueError("expires_at lies in the past")
        return value


class SubmitFields(BaseModel):
    """What a submit can say beside its media."""

    language: str | None = Field(None, description="ISO 639-1 code; absent or auto: found out.")
    diarize: bool = Field(True, description="Label who speaks.")
    word_timestamps: bool = Field(True, description="Give every word its times.")
    source: SourceName | None = Field(None, description="How the media came to be.")
    speaker_count: int | None = Field(None, ge=1, le=20, description="Exact number of speakers, if known.")
    prompt: str | None = Field(None, description="Words and phrases that help to spell names; at most 4096 bytes.")


class ListQuery(BaseModel):
    """Query of the list."""

    limit: int = Field(20, ge=1, le=100)


class ResultQuery(BaseModel):
    """Query of the result."""

    format: Literal["json", "txt", "srt", "vtt", "docx"] = "json"


class SubmitHeaders(BaseModel):
    """Headers of a submit."""

    idempotency_key: str | None = Field(
        None, alias="Idempotency-Key", pattern=r"^[A-Za-z0-9_.:/-]{1,255}$", description="The same key never makes a second job."
    )
