"""Shapes of the ActionVibe contract, for its documents and for reading what clients send."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints, model_validator

from services.gateway.quality_schemas import Quality

Status = Literal["processing", "completed", "failed"]
Period = Literal["day", "week", "month"]
TokenName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Id = Annotated[str, StringConstraints(max_length=100)]
StrictBool = Annotated[bool, Field(strict=True)]


class ActionVibeFields(BaseModel):
    """What an upload can say beside its file."""

    title: str = Field("API Upload", max_length=255)
    language: str = Field("en", description="ISO 639-1 code; auto: found out.")
    strict: bool = Field(False, description="Steno's own: fail where the transcript would otherwise have a gap.")


class ActionVibeHeaders(BaseModel):
    """Headers of an upload."""

    idempotency_key: str | None = Field(
        None, alias="Idempotency-Key", pattern=r"^[A-Za-z0-9_.:/-]{1,255}$", description="The same key never makes a second transcription."
    )


class Uploaded(BaseModel):
    """The answer to an upload."""

    transcription_id: str
    status: Literal["processing"]
    message: str
    estimated_time: str = Field(description="A range of minutes, by the length of the audio.")
    claim_token: str | None = Field(None, description="Only for a guest of an app key: proves whose transcription it is.")


class IdQuery(BaseModel):
    """Query of one transcription."""

    id: str


class Transcription(BaseModel):
    """A transcription; null where a value is not known."""

    id: str
    title: str
    content: str | None
    summary: str | None
    status: Status
    language: str | None
    file_size: int | None = Field(description="Bytes; null once the audio is deleted.")
    duration: int | None = Field(description="Seconds.")
    error_message: str | None
    created_at: str | None
    updated_at: str | None
    quality: Quality | None = Field(description="Steno's own; null until the transcription is completed.")


class TranscriptionRow(BaseModel):
    """A transcription in a list."""

    id: str
    title: str
    status: Status
    created_at: str | None


class Pagination(BaseModel):
    """Where a page lies."""

    page: int
    limit: int
    total_count: int
    total_pages: int


class TranscriptionList(BaseModel):
    """A page of transcriptions, newest first."""

    transcriptions: list[TranscriptionRow]
    pagination: Pagination


class TranscriptionsQuery(BaseModel):
    """Query of the list."""

    page: int = Field(1, ge=1)
    limit: int = Field(20, ge=1, le=100)
    status: Literal["all", "completed", "processing", "failed"] = "all"


class Permissions(BaseModel):
    """What a token may do."""

    read: StrictBool = True
    write: StrictBool = True
    admin: StrictBool = False

    @model_validator(mode="after")
    def _something(self) -> "Permissions":
        if not (self.read or self.write or self.admin):
            raise ValueError("permissions allow nothing")
        return self


class GenerateToken(BaseModel):
    """A token to make."""

    model_config = ConfigDict(populate_by_name=True)

    action: Literal["generate"]
    name: TokenName
    workspace_id: Id | None = Field(None, alias="workspaceId", description="The caller's own workspace, which is also the default.")
    permissions: Permissions = Field(default_factory=Permissions)
    expires_in_days: int | None = Field(None, alias="expiresInDays", ge=1, le=3650, strict=True, description="Absent: never.")


class ListTokens(BaseModel):
    """Asks for the tokens."""

    action: Literal["list"]


class RevokeToken(BaseModel):
    """A token to end."""

    model_config = ConfigDict(populate_by_name=True)

    action: Literal["revoke"]
    token_id: Id = Field(alias="tokenId")


class TokenCall(RootModel[Annotated[GenerateToken | ListTokens | RevokeToken, Field(discriminator="action")]]):
    """One of the three things that can be done with tokens."""


class TokenWorkspace(BaseModel):
    """Where a token belongs."""

    id: str
    name: str


class TypedWorkspace(TokenWorkspace):
    """Where a new token belongs; every workspace can have several keys and members."""

    type: Literal["team"]


class GeneratedToken(BaseModel):
    """A new token with its secret, shown this once."""

    token: str
    tokenId: str
    name: str
    workspace: TypedWorkspace
    permissions: Permissions
    expiresAt: str | None
    createdAt: str | None


class TokenRow(BaseModel):
    """A token in the list."""

    id: str
    name: str
    permissions: Permissions
    workspace: TokenWorkspace
    is_active: bool
    created_at: str | None
    last_used_at: str | None
    expires_at: str | None


class TokenList(BaseModel):
    """The workspace's tokens."""

    tokens: list[TokenRow]


class Revoked(BaseModel):
    """A token has ended."""

    message: str


class TokenAnswer(RootModel[GeneratedToken | TokenList | Revoked]):
    """By action: the new token, the tokens, or a message."""


class UsageQuery(BaseModel):
    """Query of the usage: a date that is missing is the edge of the period of the other one, or of the current period."""

    period: Period = "month"
    start_date: str | None = Field(None, description="First day, ISO 8601.")
    end_date: str | None = Field(None, description="Last day, ISO 8601.")


class Span(BaseModel):
    """From the first to the last second."""

    start: str
    end: str


class UsageSummary(BaseModel):
    """Figures over the transcriptions accepted in the span."""

    total_transcriptions: int
    total_hours: float = Field(description="Audio of the completed ones.")
    total_uploads: int
    success_rate: float = Field(description="Completed of those that ended by themselves, in percent; 100 when none has.")


class UsageLimits(BaseModel):
    """Uploads of the current month; null when the plan sets no limit."""

    monthly_upload_limit: int | None
    remaining_uploads: int | None


class ActionVibeUsage(BaseModel):
    """Usage of the workspace."""

    period: Span
    summary: UsageSummary
    limits: UsageLimits
