"""Jobs, idempotency keys, checkpoints, tallies, removals, tombstones, outbox and inbox."""

import sqlalchemy as sa
from alembic import op

from services.mesh.columns import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_QUEUED, _PROCESSING = "state = 1", "state = 2"


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.String(), nullable=False)


def _whole(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer(), nullable=False)


def _long(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _state(name: str = "state") -> "sa.Column[int]":
    return sa.Column(name, sa.SmallInteger(), nullable=False)


def _time(name: str, *, nullable: bool = False) -> "sa.Column[object]":
    return sa.Column(name, UtcDateTime(), nullable=nullable)


def _index(name: str, table: str, columns: list[str], where: str = "") -> None:
    condition = sa.text(where) if where else None
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)


def _create_job() -> None:
    op.create_table(
        "job",
        *map(_text, ("id", "workspace_id", "owner")),
        *map(_state, ("state", "source")),
        *map(_text, ("media_id", "media_sha256", "filename")),
        *map(_long, ("audio_duration_ms", "held_ms")),
        sa.Column("config", sa.LargeBinary(), nullable=False),
        sa.Column("progress", sa.Float(), nullable=False),
        _text("language"),
        sa.Column("speech_detected", sa.Boolean(), nullable=True),
        sa.Column("speech_ratio", sa.Float(), nullable=True),
        *map(_text, ("error_reason", "error_message")),
        _long("billable_ms"),
        sa.Column("truncated", sa.Boolean(), nullable=False),
        *map(_text, ("engine", "model", "transcript_artefact_id")),
        _time("create_time"),
        *(_time(name, nullable=True) for name in ("start_time", "complete_time", "delete_time")),
        _long("revision"),
        _whole("attempt"),
        _long("fence"),
        _text("worker_id"),
        _time("lease_until", nullable=True),
        _time("due_time"),
        _time("dispatch_time", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_job"),
    )


def _index_job() -> None:
    # A deleted job counts until its media is gone: what it still has to remove must not come to belong to another.
    op.create_index("job_by_media", "job", ["media_id"], unique=True)
    _index("job_by_owner", "job", ["workspace_id", "owner", "create_time", "id"], "delete_time IS NULL")
    _index("job_by_owner_state", "job", ["workspace_id", "owner", "state", "create_time", "id"], "delete_time IS NULL")
    _index("job_waiting", "job", ["workspace_id", "due_time", "id"], f"{_QUEUED} AND dispatch_time IS NULL")
    _index("job_dispatched", "job", ["dispatch_time"], f"{_QUEUED} AND dispatch_time IS NOT NULL")
    _index("job_leased", "job", ["lease_until"], _PROCESSING)


def _create_idempotency() -> None:
    op.create_table(
        "idempotency",
        *map(_text, ("workspace_id", "key_id", "key", "fingerprint", "job_id")),
        _time("create_time"),
        sa.PrimaryKeyConstraint("workspace_id", "key_id", "key", name="pk_idempotency"),
    )
    _index("idempotency_by_job", "idempotency", ["job_id"])


def _create_window() -> None:
    op.create_table(
        "window_checkpoint",
        _text("job_id"),
        _whole("index"),
        sa.Column("window", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "index", name="pk_window_checkpoint"),
    )


def _create_tally() -> None:
    op.create_table(
        "job_tally",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        *map(_text, ("workspace_id", "owner")),
        _state(),
        _whole("delta"),
        sa.PrimaryKeyConstraint("id", name="pk_job_tally"),
    )
    _index("job_tally_by_owner", "job_tally", ["workspace_id", "owner", "state", "delta"])


def _create_removal() -> None:
    op.create_table(
        "removal",
        *map(_text, ("kind", "resource_id", "workspace_id", "job_id")),
        _whole("attempts"),
        _time("next_time"),
        sa.PrimaryKeyConstraint("kind", "resource_id", name="pk_removal"),
    )
    _index("removal_due", "removal", ["next_time"])
    _index("removal_by_job", "removal", ["job_id"])


def _create_tombstone() -> None:
    op.create_table(
        "tombstone",
        *map(_text, ("job_id", "workspace_id")),
        _state(),
        _long("billable_ms"),
        _time("create_time"),
        sa.PrimaryKeyConstraint("job_id", name="pk_tombstone"),
    )
    _index("tombstone_by_time", "tombstone", ["create_time"])


def _create_mailboxes() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Text(), nullable=False),
        _time("create_time"),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("subject", "message_type")),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("trace_parent", sa.Text(), nullable=False),
        _whole("attempts"),
        _time("next_time"),
        _time("sent_time", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    _index("ix_outbox_unsent", "outbox", ["id"], "sent_time IS NULL")
    _index("ix_outbox_sent", "outbox", ["sent_time"], "sent_time IS NOT NULL")
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        _time("create_time"),
        sa.PrimaryKeyConstraint("consumer", "event_id", name="pk_inbox"),
    )
    _index("ix_inbox_create_time", "inbox", ["create_time"])


# What may change once a job has ended is that it is deleted; every other column is listed as frozen.
_FROZEN = (
    "id workspace_id owner state source media_id media_sha256 filename audio_duration_ms held_ms config progress language "
    "speech_detected speech_ratio error_reason error_message billable_ms truncated engine model transcript_artefact_id "
    "create_time start_time complete_time revision attempt fence worker_id lease_until due_time dispatch_time"
)
_BAD_EDGE = (
    "(OLD.state = 1 AND NEW.state NOT IN (1, 2, 5)) OR (OLD.state = 2 AND NEW.state NOT IN (1, 2, 3, 4, 5))"
    " OR NEW.fence < OLD.fence OR NEW.revision < OLD.revision OR NEW.id <> OLD.id OR NEW.workspace_id <> OLD.workspace_id"
    " OR (NEW.delete_time IS NOT NULL AND NEW.state IN (1, 2)) OR (NEW.delete_time IS NULL AND OLD.delete_time IS NOT NULL)"
)
_ENDED = "OLD.state IN (3, 4, 5)"
_BAD_REMOVAL = "OLD.delete_time IS NULL"
_TALLY = "INSERT INTO job_tally (workspace_id, owner, state, delta) VALUES"


def _sqlite_triggers() -> None:
    changed = " OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in _FROZEN.split())
    guards = {
        "job_edge": ("UPDATE", _BAD_EDGE, "no such edge between job states"),
        "job_ended": ("UPDATE", f"{_ENDED} AND ({changed})", "a job that has ended does not change"),
        "job_first": ("INSERT", "NEW.state <> 1", "a job begins queued"),
        "job_removal": ("DELETE", _BAD_REMOVAL, "only a deleted job is removed"),
    }
    for name, (moment, condition, message) in guards.items():
        op.execute(f"CREATE TRIGGER {name} BEFORE {moment} ON job WHEN {condition} BEGIN SELECT RAISE(ABORT, '{message}'); END")
    op.execute(f"CREATE TRIGGER job_counted AFTER INSERT ON job BEGIN {_TALLY} (NEW.workspace_id, NEW.owner, NEW.state, 1); END")
    op.execute(
        "CREATE TRIGGER job_recounted AFTER UPDATE OF state ON job WHEN NEW.state <> OLD.state"
        f" BEGIN {_TALLY} (OLD.workspace_id, OLD.owner, OLD.state, -1), (NEW.workspace_id, NEW.owner, NEW.state, 1); END"
    )
    op.execute(
        "CREATE TRIGGER job_uncounted AFTER UPDATE OF delete_time ON job"
        " WHEN NEW.delete_time IS NOT NULL AND OLD.delete_time IS NULL"
        f" BEGIN {_TALLY} (OLD.workspace_id, OLD.owner, NEW.state, -1); END"
    )


def _postgres_triggers() -> None:
    changed = " OR ".join(f"NEW.{name} IS DISTINCT FROM OLD.{name}" for name in _FROZEN.split())
    _postgres_guard("job_first", "INSERT", {"NEW.state <> 1": "a job begins queued"}, "NEW")
    _postgres_guard("job_removal", "DELETE", {_BAD_REMOVAL: "only a deleted job is removed"}, "OLD")
    edges = {_BAD_EDGE: "no such edge between job states", f"{_ENDED} AND ({changed})": "a job that has ended does not change"}
    _postgres_guard("job_edge", "UPDATE", edges, "NEW")
    body = (
        f"IF TG_OP = 'INSERT' THEN {_TALLY} (NEW.workspace_id, NEW.owner, NEW.state, 1);"
        f" ELSIF NEW.state <> OLD.state THEN"
        f" {_TALLY} (OLD.workspace_id, OLD.owner, OLD.state, -1), (NEW.workspace_id, NEW.owner, NEW.state, 1);"
        f" ELSIF NEW.delete_time IS NOT NULL AND OLD.delete_time IS NULL THEN"
        f" {_TALLY} (OLD.workspace_id, OLD.owner, OLD.state, -1); END IF; RETURN NULL;"
    )
    op.execute(f"CREATE FUNCTION job_counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")
    op.execute("CREATE TRIGGER job_counted AFTER INSERT OR UPDATE OF state, delete_time ON job FOR EACH ROW EXECUTE FUNCTION job_counted()")


def _postgres_guard(name: str, moment: str, refusals: dict[str, str], row: str) -> None:
    checks = " ".join(
        f"IF {condition} THEN RAISE EXCEPTION '{message}' USING ERRCODE = 'check_violation'; END IF;"
        for condition, message in refusals.items()
    )
    op.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {checks} RETURN {row}; END $$")
    op.execute(f"CREATE TRIGGER {name} BEFORE {moment} ON job FOR EACH ROW EXECUTE FUNCTION {name}()")


def upgrade() -> None:
    _create_job()
    _index_job()
    _create_idempotency()
    _create_window()
    _create_tally()
    _create_removal()
    _create_tombstone()
    _create_mailboxes()
    if op.get_bind().dialect.name == "sqlite":
        _sqlite_triggers()
    else:
        _postgres_triggers()


def downgrade() -> None:
    for table in ("inbox", "outbox", "tombstone", "removal", "job_tally", "window_checkpoint", "idempotency", "job"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        for function in ("job_first", "job_removal", "job_edge", "job_counted"):
            op.execute(f"DROP FUNCTION {function}()")
