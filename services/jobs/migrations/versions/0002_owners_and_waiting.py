"""Wallets, titles, claim tokens, retention, jobs that wait for their media, and keys that expire."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from services.mesh.columns import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_OLD_RETENTION_DAYS = 365

_FROZEN = (
    "id workspace_id state source media_id media_sha256 filename audio_duration_ms held_ms config progress language "
    "speech_detected speech_ratio error_reason error_message billable_ms truncated engine model transcript_artefact_id "
    "create_time start_time complete_time revision attempt fence worker_id lease_until due_time dispatch_time"
)
_OLD_EDGE = (
    "(OLD.state = 1 AND NEW.state NOT IN (1, 2, 5)) OR (OLD.state = 2 AND NEW.state NOT IN (1, 2, 3, 4, 5))"
    " OR NEW.fence < OLD.fence OR NEW.revision < OLD.revision OR NEW.id <> OLD.id OR NEW.workspace_id <> OLD.workspace_id"
    " OR (NEW.delete_time IS NOT NULL AND NEW.state IN (1, 2)) OR (NEW.delete_time IS NULL AND OLD.delete_time IS NOT NULL)"
)
# Without its media a job is neither handed out nor worked on, and it may fail without ever having been.
_EDGE = (
    _OLD_EDGE.replace("NEW.state NOT IN (1, 2, 5)", "NEW.state NOT IN (1, 2, 5) AND NOT (NEW.state = 4 AND OLD.waiting <> 0)", 1)
    + " OR (NEW.waiting <> 0 AND (NEW.waiting <> OLD.waiting OR NEW.state <> 1 OR NEW.dispatch_time IS NOT NULL))"
    " OR (OLD.waiting <> 0 AND NEW.state = 2)"
)
# A token works once: its digest goes with the change of hands and never comes back.
_BAD_CLAIM = (
    "(NEW.owner <> OLD.owner AND (OLD.claim_digest IS NULL OR NEW.claim_digest IS NOT NULL OR substr(NEW.owner, 1, 5) <> 'user:'))"
    " OR (NEW.owner = OLD.owner AND coalesce(NEW.claim_digest, '') <> coalesce(OLD.claim_digest, ''))"
)
_ENDED = "OLD.state IN (3, 4, 5)"
_TALLY = "INSERT INTO job_tally (workspace_id, owner, state, delta) VALUES"


def _index(name: str, table: str, columns: list[str], where: str = "", *, unique: bool = False) -> None:
    condition = sa.text(where) if where else None
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _add(table: str, name: str, kind: "sa.types.TypeEngine[Any]", default: str | None = None) -> None:
    op.add_column(table, sa.Column(name, kind, nullable=default is None, server_default=None if default is None else sa.text(default)))


def _sqlite_triggers(edge: str, frozen: str, *, claims: bool) -> None:
    differs = "IS NOT"
    changed = " OR ".join(f"NEW.{name} {differs} OLD.{name}" for name in frozen.split())
    guards = {
        "job_edge": (edge, "no such edge between job states"),
        "job_ended": (f"{_ENDED} AND ({changed}{_retained(differs) if claims else ''})", "a job that has ended does not change"),
    }
    if claims:
        guards["job_claim"] = (_BAD_CLAIM, "a job changes hands by its claim token only")
    for name, (condition, message) in guards.items():
        op.execute(f"CREATE TRIGGER {name} BEFORE UPDATE ON job WHEN {condition} BEGIN SELECT RAISE(ABORT, '{message}'); END")
    moved = "NEW.state <> OLD.state" + (" OR NEW.owner <> OLD.owner" if claims else "")
    op.execute(
        f"CREATE TRIGGER job_recounted AFTER UPDATE OF {'state, owner' if claims else 'state'} ON job WHEN {moved}"
        f" BEGIN {_TALLY} (OLD.workspace_id, OLD.owner, OLD.state, -1), (NEW.workspace_id, NEW.owner, NEW.state, 1); END"
    )


def _postgres_triggers(edge: str, frozen: str, *, claims: bool) -> None:
    differs = "IS DISTINCT FROM"
    changed = " OR ".join(f"NEW.{name} {differs} OLD.{name}" for name in frozen.split())
    refusals = {
        edge: "no such edge between job states",
        f"{_ENDED} AND ({changed}{_retained(differs) if claims else ''})": "a job that has ended does not change",
    }
    if claims:
        refusals[_BAD_CLAIM] = "a job changes hands by its claim token only"
    checks = " ".join(
        f"IF {condition} THEN RAISE EXCEPTION '{message}' USING ERRCODE = 'check_violation'; END IF;"
        for condition, message in refusals.items()
    )
    op.execute(f"CREATE OR REPLACE FUNCTION job_edge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {checks} RETURN NEW; END $$")
    moved = "NEW.state <> OLD.state" + (" OR NEW.owner <> OLD.owner" if claims else "")
    body = (
        f"IF TG_OP = 'INSERT' THEN {_TALLY} (NEW.workspace_id, NEW.owner, NEW.state, 1);"
        f" ELSIF {moved} THEN"
        f" {_TALLY} (OLD.workspace_id, OLD.owner, OLD.state, -1), (NEW.workspace_id, NEW.owner, NEW.state, 1);"
        f" ELSIF NEW.delete_time IS NOT NULL AND OLD.delete_time IS NULL THEN"
        f" {_TALLY} (OLD.workspace_id, OLD.owner, OLD.state, -1); END IF; RETURN NULL;"
    )
    op.execute(f"CREATE OR REPLACE FUNCTION job_counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")
    columns = "state, delete_time, owner" if claims else "state, delete_time"
    op.execute("DROP TRIGGER job_counted ON job")
    op.execute(f"CREATE TRIGGER job_counted AFTER INSERT OR UPDATE OF {columns} ON job FOR EACH ROW EXECUTE FUNCTION job_counted()")


def _retained(differs: str) -> str:
    """How long the media of an ended job is kept changes with its hands; that its removal was ordered may be noted any time."""
    kept = " OR ".join(f"NEW.{name} {differs} OLD.{name}" for name in ("retention_days", "audio_expire_time"))
    later = f"NEW.removal_time IS NOT NULL AND NEW.removal_time {differs} OLD.removal_time"
    return f" OR (NEW.owner = OLD.owner AND ({kept} OR ({later})))"


def _drop_sqlite_guards(*names: str) -> None:
    for name in names:
        op.execute(f"DROP TRIGGER {name}")


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _add_columns() -> None:
    for name in ("wallet_id", "title", "url"):
        _add("job", name, sa.String(), "''")
    _add("job", "claim_digest", sa.String())
    _add("job", "waiting", sa.SmallInteger(), "0")
    _add("job", "retention_days", sa.Integer(), str(_OLD_RETENTION_DAYS))
    _add("job", "audio_expire_time", UtcDateTime())
    _add("job", "removal_time", UtcDateTime())
    _add("idempotency", "expire_time", UtcDateTime())
    _add("tombstone", "owner", sa.String(), "''")
    _add("tombstone", "audio_duration_ms", sa.BigInteger(), "0")
    _add("tombstone", "accept_time", UtcDateTime())


def _fill_old_rows() -> None:
    """Jobs of before keep their audio for a year from their end; of cancelled and deleted ones it was ordered to go."""
    window = f"{_OLD_RETENTION_DAYS * 86_400_000_000}" if _is_sqlite() else f"interval '{_OLD_RETENTION_DAYS} days'"
    op.execute(f"UPDATE job SET audio_expire_time = complete_time + {window} WHERE state IN (3, 4, 5)")  # noqa: S608
    op.execute("UPDATE job SET removal_time = audio_expire_time WHERE state IN (3, 4) AND delete_time IS NULL")
    op.execute(
        "UPDATE idempotency SET expire_time = (SELECT audio_expire_time FROM job WHERE job.id = idempotency.job_id)"
        " WHERE job_id IN (SELECT id FROM job WHERE state IN (3, 4, 5))"
    )


def _add_indexes() -> None:
    op.drop_index("job_waiting", "job")
    _index("job_waiting", "job", ["workspace_id", "due_time", "id"], "state = 1 AND dispatch_time IS NULL AND waiting = 0")
    _index("job_pending", "job", ["waiting", "due_time"], "waiting <> 0")
    _index("job_by_claim", "job", ["claim_digest"], "claim_digest IS NOT NULL", unique=True)
    _index("job_expiring", "job", ["removal_time"], "removal_time IS NOT NULL")
    _index("job_hidden", "job", ["workspace_id", "owner", "create_time"], "delete_time IS NOT NULL")
    _index("idempotency_expiring", "idempotency", ["expire_time"], "expire_time IS NOT NULL")
    _index("tombstone_by_owner", "tombstone", ["workspace_id", "owner", "accept_time"])


def upgrade() -> None:
    if _is_sqlite():
        _drop_sqlite_guards("job_edge", "job_ended", "job_recounted")
    else:
        op.execute("ALTER TABLE job DISABLE TRIGGER job_edge")
    _add_columns()
    _fill_old_rows()
    _add_indexes()
    make = _sqlite_triggers if _is_sqlite() else _postgres_triggers
    make(_EDGE, f"{_FROZEN} wallet_id title url waiting", claims=True)
    if not _is_sqlite():
        op.execute("ALTER TABLE job ENABLE TRIGGER job_edge")


def downgrade() -> None:
    """What still waits for its media is cancelled: the version before would hand it out."""
    now = "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000)" if _is_sqlite() else "now()"
    op.execute(sa.text(f"UPDATE job SET state = 5, waiting = 0, complete_time = {now} WHERE waiting <> 0"))  # noqa: S608
    if _is_sqlite():
        _drop_sqlite_guards("job_edge", "job_ended", "job_claim", "job_recounted")
    for name, table in {"tombstone_by_owner": "tombstone", "idempotency_expiring": "idempotency"}.items():
        op.drop_index(name, table)
    for name in ("job_hidden", "job_expiring", "job_by_claim", "job_pending", "job_waiting"):
        op.drop_index(name, "job")
    _index("job_waiting", "job", ["workspace_id", "due_time", "id"], "state = 1 AND dispatch_time IS NULL")
    make = _sqlite_triggers if _is_sqlite() else _postgres_triggers
    make(_OLD_EDGE, f"owner {_FROZEN}", claims=False)
    _drop_columns()


def _drop_columns() -> None:
    columns = {
        "job": "wallet_id title url claim_digest waiting retention_days audio_expire_time removal_time",
        "idempotency": "expire_time",
        "tombstone": "owner audio_duration_ms accept_time",
    }
    for table, names in columns.items():
        for name in names.split():
            op.drop_column(table, name)
