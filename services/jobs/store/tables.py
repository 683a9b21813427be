"""The tables of jobs."""

from datetime import datetime

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, SmallInteger, column
from sqlmodel import Field, SQLModel

from services.mesh.columns import UtcDateTime, table_registry
from services.mesh.inbox import inbox_table
from services.mesh.outbox import outbox_table


class Table(SQLModel, registry=table_registry()):
    """The base of the tables of jobs."""


_IN_SIGHT = column("delete_time").is_(None) & (column("kind") == 0)
_HIDDEN = column("delete_time").is_not(None) & (column("kind") == 0)
_OF_MEDIA = column("media_id") != ""
_TRAINING = column("kind") == 1
_DISPATCHABLE = (column("state") == 1) & column("dispatch_time").is_(None) & (column("waiting") == 0)
_PENDING = column("waiting") != 0
_CLAIMABLE = column("claim_digest").is_not(None)
_EXPIRING = column("removal_time").is_not(None)
_KEY_EXPIRING = column("expire_time").is_not(None)


class JobRow(Table, table=True):
    """One order, in every state. Edges between states are guarded by a trigger.

    kind: what the work is, a Job.Kind; config: a TranscriptionConfig, TrainingTask or DetectionTask, by kind.
    media_id: empty for a training.
    waiting: for what media, a Job.Waiting. claim_digest: SHA-256 of the claim token, in hexadecimal, until it is used.
    removal_time: when the media is to go; null before the end, and once its removal is ordered.
    trace_parent: of the request that ordered it, empty for none; all its work belongs to that trace.
    """

    __tablename__ = "job"
    __table_args__ = (
        Index("job_by_media", "media_id", unique=True, sqlite_where=_OF_MEDIA, postgresql_where=_OF_MEDIA),
        Index(
            "job_by_owner",
            "workspace_id",
            "owner",
            "create_time",
            "id",
            sqlite_where=_IN_SIGHT,
            postgresql_where=_IN_SIGHT,
        ),
        Index(
            "job_by_owner_state",
            "workspace_id",
            "owner",
            "state",
            "create_time",
            "id",
            sqlite_where=_IN_SIGHT,
            postgresql_where=_IN_SIGHT,
        ),
        Index(
            "job_waiting",
            "kind",
            "workspace_id",
            "due_time",
            "id",
            sqlite_where=_DISPATCHABLE,
            postgresql_where=_DISPATCHABLE,
        ),
        Index(
            "job_dispatched",
            "kind",
            "dispatch_time",
            sqlite_where=(column("state") == 1) & column("dispatch_time").is_not(None),
            postgresql_where=(column("state") == 1) & column("dispatch_time").is_not(None),
        ),
        Index(
            "job_leased",
            "lease_until",
            sqlite_where=column("state") == 2,
            postgresql_where=column("state") == 2,
        ),
        Index("job_pending", "waiting", "due_time", sqlite_where=_PENDING, postgresql_where=_PENDING),
        Index("job_by_claim", "claim_digest", unique=True, sqlite_where=_CLAIMABLE, postgresql_where=_CLAIMABLE),
        Index("job_expiring", "removal_time", sqlite_where=_EXPIRING, postgresql_where=_EXPIRING),
        Index("job_training", "workspace_id", "owner", "create_time", "id", sqlite_where=_TRAINING, postgresql_where=_TRAINING),
        Index("job_hidden", "workspace_id", "owner", "create_time", sqlite_where=_HIDDEN, postgresql_where=_HIDDEN),
    )

    id: str = Field(primary_key=True)
    workspace_id: str
    owner: str
    state: int = Field(sa_type=SmallInteger)
    source: int = Field(sa_type=SmallInteger)
    media_id: str
    media_sha256: str
    filename: str
    audio_duration_ms: int = Field(sa_type=BigInteger)
    held_ms: int = Field(sa_type=BigInteger)
    config: bytes = Field(sa_type=LargeBinary)
    progress: float = 0.0
    language: str = ""
    speech_detected: bool | None = None
    speech_ratio: float | None = None
    error_reason: str = ""
    error_message: str = ""
    billable_ms: int = Field(default=0, sa_type=BigInteger)
    truncated: bool = False
    engine: str = ""
    model: str = ""
    transcript_artefact_id: str = ""
    create_time: datetime = Field(sa_type=UtcDateTime)
    start_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    complete_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    delete_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revision: int = Field(default=1, sa_type=BigInteger)
    attempt: int = 0
    fence: int = Field(default=0, sa_type=BigInteger)
    worker_id: str = ""
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    due_time: datetime = Field(sa_type=UtcDateTime)
    dispatch_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    wallet_id: str = ""
    title: str = ""
    url: str = ""
    claim_digest: str | None = None
    waiting: int = Field(default=0, sa_type=SmallInteger)
    retention_days: int = 365
    audio_expire_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    removal_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    kind: int = Field(default=0, sa_type=SmallInteger)
    trace_parent: str = ""


class IdempotencyKey(Table, table=True):
    """What a client's key made. key_id is the API key, or the owner where there is none.

    expire_time: when the key may make another job; null until the first one has ended, unless the client set it.
    """

    __tablename__ = "idempotency"
    __table_args__ = (
        Index("idempotency_by_job", "job_id"),
        Index("idempotency_expiring", "expire_time", sqlite_where=_KEY_EXPIRING, postgresql_where=_KEY_EXPIRING),
    )

    workspace_id: str = Field(primary_key=True)
    key_id: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    fingerprint: str
    job_id: str
    create_time: datetime = Field(sa_type=UtcDateTime)
    expire_time: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Window(Table, table=True):
    """A checkpoint: a window that some claim of the job finished."""

    __tablename__ = "window_checkpoint"

    job_id: str = Field(primary_key=True)
    index: int = Field(primary_key=True)
    window: bytes = Field(sa_type=LargeBinary)


class AnnouncedArtefact(Table, table=True):
    """An artefact that some claim of a job stores its result in: at most one becomes the transcript, the others go when the job ends."""

    __tablename__ = "announced_artefact"

    job_id: str = Field(primary_key=True)
    artefact_id: str = Field(primary_key=True)


class JobTally(Table, table=True):
    """Signed counts of jobs, written by triggers; their sum per state is how many jobs there are.

    Rows are only added, so that submits of one workspace never wait for each other; folding joins them.
    """

    __tablename__ = "job_tally"
    __table_args__ = (Index("job_tally_by_owner", "workspace_id", "owner", "state", "delta"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True))
    workspace_id: str
    owner: str
    state: int = Field(sa_type=SmallInteger)
    delta: int


class Removal(Table, table=True):
    """Something in storage that must go, kept until storage said that it is gone."""

    __tablename__ = "removal"
    __table_args__ = (Index("removal_due", "next_time"), Index("removal_by_job", "job_id"))

    kind: str = Field(primary_key=True)
    resource_id: str = Field(primary_key=True)
    workspace_id: str
    job_id: str
    attempts: int = 0
    next_time: datetime = Field(sa_type=UtcDateTime)


class Tombstone(Table, table=True):
    """How a removed job ended: what late events, open holds and figures still need to know. accept_time: the job's create_time."""

    __tablename__ = "tombstone"
    __table_args__ = (
        Index("tombstone_by_time", "create_time"),
        Index("tombstone_by_owner", "workspace_id", "owner", "accept_time"),
    )

    job_id: str = Field(primary_key=True)
    workspace_id: str
    state: int = Field(sa_type=SmallInteger)
    billable_ms: int = Field(sa_type=BigInteger)
    create_time: datetime = Field(sa_type=UtcDateTime)
    owner: str = ""
    audio_duration_ms: int = Field(default=0, sa_type=BigInteger)
    accept_time: datetime | None = Field(default=None, sa_type=UtcDateTime)


outbox = outbox_table(Table.metadata)
inbox = inbox_table(Table.metadata)
