"""The tables. Amounts are integer milliseconds of audio; times are aware UTC from the database's clock."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, CheckConstraint, Index, MetaData, text
from sqlmodel import Field, SQLModel

from services.mesh.columns import UtcDateTime, table_registry
from services.mesh.outbox import outbox_table


class Base(SQLModel, registry=table_registry()):
    """Billing's own registry of tables."""


metadata: MetaData = Base.metadata
_OPEN, _GRANT = "state = 'OPEN'", "kind = 'GRANT'"
outbox = outbox_table(metadata)


class Workspace(Base, table=True):
    """A wallet and where its ledger's month began: a tenant's own, or that of a user or an anonymous buyer of it."""

    __tablename__ = "workspace"
    __table_args__ = (Index("uq_workspace_parent_id_email", "parent_id", "email", unique=True),)

    id: str = Field(primary_key=True)
    parent_id: str | None = Field(default=None, foreign_key="workspace.id")
    """The tenant of a user or buyer; a tenant has none."""
    email: str | None = None
    """A user's address, in lower case."""
    guest_digest: str | None = Field(default=None, index=True, unique=True)
    """Keyed hash of the token that opens an anonymous buyer's wallet."""
    name: str
    plan: str
    create_time: datetime = Field(sa_type=UtcDateTime)
    period: str
    """The month (yyyy-mm, UTC) whose plan credit was granted last."""
    used_before_ms: int = Field(default=0, sa_type=BigInteger)
    """Spent before that month; less it, the usage account says what the month spent."""
    granted_before_ms: int = Field(default=0, sa_type=BigInteger)
    """Granted before that month."""
    exhausted_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the mesh was last told that credit ran out."""


class ApiKey(Base, table=True):
    """A key; of the secret only its keyed hash."""

    __tablename__ = "api_key"
    __table_args__ = (Index("ix_api_key_workspace_id_id", "workspace_id", "id"),)

    id: str = Field(primary_key=True)
    workspace_id: str = Field(foreign_key="workspace.id")
    name: str
    kind: int
    """Number of the proto's ApiKey.Kind."""
    digest: str = Field(unique=True)
    key_prefix: str
    scopes: list[str] = Field(default_factory=list, sa_type=JSON)
    test: bool
    create_time: datetime = Field(sa_type=UtcDateTime)
    expire_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    last_use_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    revoke_time: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Account(Base, table=True):
    """Running totals of one account; always the sum of its transfers."""

    __tablename__ = "account"
    __table_args__ = (
        CheckConstraint("debits_pending >= 0", name="debits_pending"),
        CheckConstraint("debits_posted >= 0", name="debits_posted"),
        CheckConstraint("credits_pending >= 0", name="credits_pending"),
        CheckConstraint("credits_posted >= 0", name="credits_posted"),
        CheckConstraint("kind <> 'plan' OR debits_pending + debits_posted <= credits_posted", name="plan_never_below_zero"),
        Index("ix_account_workspace_id", "workspace_id"),
    )

    id: str = Field(primary_key=True)
    workspace_id: str = Field(foreign_key="workspace.id")
    kind: str
    debits_pending: int = Field(default=0, sa_type=BigInteger)
    debits_posted: int = Field(default=0, sa_type=BigInteger)
    credits_pending: int = Field(default=0, sa_type=BigInteger)
    credits_posted: int = Field(default=0, sa_type=BigInteger)


class Transfer(Base, table=True):
    """One movement; triggers refuse to change or delete it."""

    __tablename__ = "transfer"
    __table_args__ = (
        CheckConstraint("amount_ms > 0", name="amount"),
        CheckConstraint("debit_account <> credit_account", name="two_accounts"),
        CheckConstraint("(kind IN ('SETTLEMENT', 'RELEASE')) = (pending_id IS NOT NULL)", name="only_holds_end"),
        Index("ix_transfer_workspace_id_create_time_id", "workspace_id", "create_time", "id"),
        Index("ix_transfer_job_id", "job_id"),
        Index("ix_transfer_grants", "workspace_id", "create_time", sqlite_where=text(_GRANT), postgresql_where=text(_GRANT)),
    )

    id: str = Field(primary_key=True)
    workspace_id: str
    debit_account: str = Field(foreign_key="account.id")
    credit_account: str = Field(foreign_key="account.id")
    amount_ms: int = Field(sa_type=BigInteger)
    kind: str
    pending_id: str | None = Field(default=None, foreign_key="transfer.id", unique=True)
    """The hold that it settles or releases; unique, so that a hold ends once."""
    job_id: str = ""
    create_time: datetime = Field(sa_type=UtcDateTime)


class Hold(Base, table=True):
    """What was reserved for a job, and what became of it."""

    __tablename__ = "hold"
    __table_args__ = (
        CheckConstraint("amount_ms > 0 AND settled_ms >= 0", name="amounts"),
        CheckConstraint("state = 'SETTLED' OR settled_ms = 0", name="only_settled_is_charged"),
        Index("ix_hold_open", "create_time", "job_id", sqlite_where=text(_OPEN), postgresql_where=text(_OPEN)),
        Index("ix_hold_open_workspace_id", "workspace_id", sqlite_where=text(_OPEN), postgresql_where=text(_OPEN)),
        Index("ix_hold_workspace_id_upload_period", "workspace_id", "upload_period"),
    )

    job_id: str = Field(primary_key=True)
    workspace_id: str = Field(foreign_key="workspace.id")
    upload_period: str | None = None
    """The month (yyyy-mm, UTC) that it counts in as an upload; none once its submit was withdrawn."""
    amount_ms: int = Field(sa_type=BigInteger)
    settled_ms: int = Field(default=0, sa_type=BigInteger)
    state: str
    create_time: datetime = Field(sa_type=UtcDateTime)
    end_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    expire_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """Until when it stands unless it is renewed; none for the hold of a job."""


class Checkout(Base, table=True):
    """A purchase, with the pack as it was when the purchase began."""

    __tablename__ = "checkout"
    __table_args__ = (CheckConstraint("amount_ms > 0 AND price_cents > 0", name="amounts"),)

    id: str = Field(primary_key=True)
    workspace_id: str = Field(foreign_key="workspace.id")
    wallet_id: str = Field(foreign_key="workspace.id")
    credit_pack: str
    amount_ms: int = Field(sa_type=BigInteger)
    price_cents: int = Field(sa_type=BigInteger)
    currency: str
    plan: str = ""
    """The plan that the wallet moves to when it is paid; empty for none."""
    session_id: str
    """What the payment provider calls it."""
    url: str
    state: str
    create_time: datetime = Field(sa_type=UtcDateTime)
    end_time: datetime | None = Field(default=None, sa_type=UtcDateTime)
