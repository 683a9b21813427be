"""Shapes of the native contract, for its documents and for reading what clients send."""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel, StringConstraints, WithJsonSchema, field_validator

from services.gateway.quality_schemas import Gap, SpokenLanguage

MAX_CLAIM_TOKENS = 100
_DATE_AND_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:")
Status = Literal["queued", "processing", "done", "failed", "cancelled"]
SourceName = Literal["upload", "url", "recording", "api"]
ScopeName = Literal["read", "write", "admin", "act_as_user"]
# Read as whatever was sent, so that a wrong value of any type is told as BAD_SOURCE.
AnySource = Annotated[object, WithJsonSchema({"type": "string", "enum": ["upload", "url", "recording", "api"]})]
WebUrl = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\x00-\x20\x7f]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Accepted(BaseModel):
    """The answer to a submit."""

    job_id: str
    status: Status
    tier: int
    claim_token: str | None = Field(None, description="Only for a guest's submit: proves whose job it is.")


class AcceptedUpload(Accepted):
    """The answer to an announced upload: where its bytes go. Without `upload_url` they have arrived."""

    upload_url: str | None = Field(None, description="PUT the file's bytes here, without a key; resolve it against this API's address.")
    method: Literal["PUT"] = "PUT"
    expires_in: int = Field(ge=0, description="Seconds for which upload_url works; the same request again answers a fresh one.")
    max_bytes: int = Field(description="Largest file that is taken.")
    complete_url: str = Field(description="POST here once the bytes have arrived.")


class JobRow(BaseModel):
    """Where a job stands; unknown values are null."""

    job_id: str
    status: Status
    progress: float = Field(ge=0, le=1)
    filename: str
    title: str | None
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
    retention_days: int = Field(description="Days that the audio is kept after the job has ended.")
    audio_expires_at: float | None = Field(description="When the audio is deleted; null until the job has ended.")
    waiting_for: Literal["fetch", "upload"] | None = Field(description="What a queued job's media still needs.")
    strict: bool
    estimated_seconds: float | None = Field(description="How long the work still takes at the pace so far; null while that is not known.")


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
    languages: list[SpokenLanguage] = Field(default_factory=list, description="The most spoken first.")
    gaps: list[Gap] = Field(default_factory=list, description="Speech that could not be transcribed.")
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


class UsageReport(BaseModel):
    """What was used in the current billing period, a calendar month (UTC)."""

    plan: str
    tier: Literal["guest", "free", "paid"]
    period_start: float = Field(description="Epoch seconds.")
    period_end: float = Field(description="Epoch seconds; the next period begins then.")
    included_hours: float
    used_hours: float
    remaining_hours: float
    overage_hours: float
    overage_cents: int
    uploads: int
    uploads_limit: int | None = Field(description="Submits that the plan allows in the period; null means no limit.")


class Pack(BaseModel):
    """Credit on sale."""

    name: str
    title: str
    hours: float
    price_cents: int
    currency: str = Field(description="ISO 4217 code in lower case.")


class CheckoutRow(BaseModel):
    """A purchase."""

    checkout_id: str
    pack: str
    status: Literal["open", "paid", "expired"]
    url: str | None = Field(description="Where the buyer pays; null once paid or expired.")
    created_at: float | None


class NewCheckoutRow(CheckoutRow):
    """A purchase just begun."""

    guest_token: str | None = Field(None, description="Only for a guest without one: opens the wallet, shown this once.")


class NewCheckout(BaseModel):
    """A purchase to begin."""

    model_config = ConfigDict(strict=True)

    pack: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    success_url: WebUrl = Field(description="Where the buyer is sent after paying.")
    cancel_url: WebUrl = Field(description="Where the buyer is sent after giving up.")


class Nothing(BaseModel):
    """An empty object."""


class PaymentEventHeaders(BaseModel):
    """What the payment provider signs its events with."""

    stripe_signature: str = Field(alias="Stripe-Signature")


class PaymentEvent(BaseModel):
    """An event as the payment provider writes it."""

    model_config = ConfigDict(extra="allow")


class Claim(BaseModel):
    """Jobs to claim."""

    model_config = ConfigDict(strict=True)

    claim_tokens: list[str] = Field(description=f"What submits answered to the guest; at most {MAX_CLAIM_TOKENS}.")


class Claimed(BaseModel):
    """The jobs are the caller's."""

    claimed: int = Field(ge=0, description="How many changed hands.")


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
    test: bool = Field(False, strict=True)
    scopes: list[ScopeName] = Field(default_factory=list, max_length=4)

    @field_validator("expires_at", mode="before")
    @classmethod
    def _written_out(cls, value: object) -> object:
        """Seconds since 1970 would be read as a time too."""
        if value is not None and not (isinstance(value, str) and _DATE_AND_TIME.match(value)):
            raise ValueError("expires_at is an RFC 3339 time such as 2030-01-31T12:00:00Z")
        return value

    @field_validator("expires_at")
    @classmethod
    def _in_the_future(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        if value <= datetime.now(UTC):
            raise ValueError("expires_at lies in the past")
        try:
            return value.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("expires_at lies after the year 9999") from error


class SubmitFields(BaseModel):
    """What a submit can say beside its media."""

    language: str | None = Field(None, description="ISO 639-1 code; absent or auto: found out.")
    diarize: bool = Field(True, description="Label who speaks.")
    word_timestamps: bool = Field(True, description="Give every word its times.")
    source: SourceName | None = Field(None, description="How the media came to be.")
    speaker_count: int | None = Field(None, ge=1, le=20, description="Exact number of speakers, if known.")
    prompt: str | None = Field(None, description="Words and phrases that help to spell names; at most 4096 bytes.")
    strict: bool = Field(False, description="Fail with TRANSCRIPT_INCOMPLETE where the transcript would otherwise have a gap.")


class JsonOrder(BaseModel):
    """What every submit in JSON can say."""

    model_config = ConfigDict(strict=True)

    language: str | None = Field(None, description="ISO 639-1 code; absent, null or auto: found out.")
    diarize: bool = Field(True, description="Label who speaks.")
    word_timestamps: bool = Field(True, description="Give every word its times.")
    source: AnySource = Field(
        default_factory=str, description="How the media came to be; by default url for a URL and upload for an upload."
    )
    speaker_count: int | None = Field(None, description="Exact number of speakers, 1 to 20, if known.")
    num_speakers: int | None = Field(None, description="Another name of speaker_count.")
    prompt: str | None = Field(None, description="Words and phrases that help to spell names; at most 4096 bytes.")
    strict: bool = Field(False, description="Fail with TRANSCRIPT_INCOMPLETE where the transcript would otherwise have a gap.")


class UrlOrder(JsonOrder):
    """A URL to transcribe."""

    url: str = Field(
        description="http or https address of the media on a public host.",
        json_schema_extra={"format": "uri", "examples": ["https://example.com/audio.mp3"]},
    )


class UploadOrder(JsonOrder):
    """A file that the client will upload by itself."""

    filename: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    size_bytes: int | None = Field(None, ge=1, description="Size of the file; more is not taken.")


class FileBytes(RootModel[bytes]):
    """The file as it is."""


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


class IdentityHeaders(BaseModel):
    """Whom a request acts for, beside its API key."""

    user_email: str | None = Field(None, alias="X-User-Email", description="The user, for a key that may act as one.")
    guest_token: str | None = Field(None, alias="X-Guest-Token", description="Opens the wallet of an anonymous buyer.")
    claim_token: str | None = Field(None, alias="X-Claim-Token", description="Proves that a guest submitted the job.")
