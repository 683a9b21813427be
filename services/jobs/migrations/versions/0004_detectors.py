"""Kinds of jobs, trainings, detectors and inference orders."""

import sqlalchemy as sa
from alembic import op

from services.mesh.columns import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_QUEUED, _SEEN, _HIDDEN = "state = 1", "delete_time IS NULL", "delete_time IS NOT NULL"
_WAITING, _DISPATCHED = f"{_QUEUED} AND dispatch_time IS NULL AND waiting = 0", f"{_QUEUED} AND dispatch_time IS NOT NULL"
_OWNED = ["workspace_id", "owner", "create_time", "id"]
_STATED = ["workspace_id", "owner", "state", "create_time", "id"]
# Index, columns, condition, and both as they were before.
_CHANGED = {
    "job_by_owner": (_OWNED, f"{_SEEN} AND kind = 0", _OWNED, _SEEN),
    "job_by_owner_state": (_STATED, f"{_SEEN} AND kind = 0", _STATED, _SEEN),
    "job_hidden": (_OWNED[:3], f"{_HIDDEN} AND kind = 0", _OWNED[:3], _HIDDEN),
    "job_waiting": (["kind", "workspace_id", "due_time", "id"], _WAITING, ["workspace_id", "due_time", "id"], _WAITING),
    "job_dispatched": (["kind", "dispatch_time"], _DISPATCHED, ["dispatch_time"], _DISPATCHED),
}
_TALLY = "INSERT INTO job_tally (workspace_id, owner, state, delta) VALUES"
_MOVED = "NEW.state <> OLD.state OR NEW.owner <> OLD.owner"
_REMOVED = "NEW.delete_time IS NOT NULL AND OLD.delete_time IS NULL"
_KEPT = "a job keeps its kind"


def _index(name: str, table: str, columns: list[str], where: str = "", *, unique: bool = False) -> None:
    condition = sa.text(where) if where else None
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _text(*names: str) -> "list[sa.Column[str]]":
    return [sa.Column(name, sa.String(), nullable=False) for name in names]


def _bytes(name: str) -> "sa.Column[bytes]":
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _whole(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer(), nullable=False)


def _create_trainings() -> None:
    op.create_table(
        "training_job",
        *_text("job_id", "workspace_id", "detector_name", "detector_id"),
        sa.PrimaryKeyConstraint("job_id", name="pk_training_job"),
    )
    op.create_table(
        "training_epoch",
        *_text("job_id"),
        _whole("epoch"),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("training_loss", "validation_loss", "validation_f1_score")),
        sa.PrimaryKeyConstraint("job_id", "epoch", name="pk_training_epoch"),
    )


def _create_detector() -> None:
    op.create_table(
        "detector",
        *_text("id", "workspace_id", "owner", "name", "description"),
        _bytes("artifact_types"),
        *_text("training_job_id"),
        _bytes("eval_metrics"),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        *_text("artefact_id"),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_detector"),
    )
    _index("detector_by_owner", "detector", _OWNED)


def _create_orders() -> None:
    op.create_table(
        "inference_order",
        *_text("id", "workspace_id", "owner", "detector_id"),
        _bytes("config"),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("cancel_time", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_inference_order"),
    )
    _index("inference_order_by_owner", "inference_order", _OWNED)
    _index("inference_order_by_detector", "inference_order", ["detector_id"])
    op.create_table(
        "inference_file",
        *_text("job_id", "workspace_id", "order_id"),
        _whole("rate_percent"),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("size_bytes", "detection_count")),
        sa.PrimaryKeyConstraint("job_id", name="pk_inference_file"),
    )
    _index("inference_file_by_order", "inference_file", ["order_id", "job_id"])
    op.create_table(
        "detection_part",
        *_text("job_id"),
        _whole("part"),
        _bytes("detections"),
        sa.PrimaryKeyConstraint("job_id", "part", name="pk_detection_part"),
    )


def _index_kinds() -> None:
    for name, (columns, condition, _, _) in _CHANGED.items():
        op.drop_index(name, "job")
        _index(name, "job", columns, condition)
    # A training has no media.
    op.drop_index("job_by_media", "job")
    _index("job_by_media", "job", ["media_id"], "media_id <> ''", unique=True)
    _index("job_training", "job", _OWNED, "kind = 1")


def _sqlite_tallies(*, kinds: bool) -> None:
    only = "NEW.kind = 0 AND " if kinds else ""
    first = "WHEN NEW.kind = 0 " if kinds else ""
    for name in ("job_counted", "job_recounted", "job_uncounted"):
        op.execute(f"DROP TRIGGER {name}")
    op.execute(f"CREATE TRIGGER job_counted AFTER INSERT ON job {first}BEGIN {_TALLY} (NEW.workspace_id, NEW.owner, NEW.state, 1); END")
    op.execute(
        f"CREATE TRIGGER job_recounted AFTER UPDATE OF state, owner ON job WHEN {only}({_MOVED})"
        f" BEGIN {_TALLY} (OLD.workspace_id, OLD.owner, OLD.state, -1), (NEW.workspace_id, NEW.owner, NEW.state, 1); END"
    )
    op.execute(
        f"CREATE TRIGGER job_uncounted AFTER UPDATE OF delete_time ON job WHEN {only}{_REMOVED}"
        f" BEGIN {_TALLY} (OLD.workspace_id, OLD.owner, NEW.state, -1); END"
    )


def _postgres_tallies(*, kinds: bool) -> None:
    other = "IF NEW.kind <> 0 THEN RETURN NULL; END IF; " if kinds else ""
    body = (
        f"{other}IF TG_OP = 'INSERT' THEN {_TALLY} (NEW.workspace_id, NEW.owner, NEW.state, 1);"
        f" ELSIF {_MOVED} THEN"
        f" {_TALLY} (OLD.workspace_id, OLD.owner, OLD.state, -1), (NEW.workspace_id, NEW.owner, NEW.state, 1);"
        f" ELSIF {_REMOVED} THEN {_TALLY} (OLD.workspace_id, OLD.owner, OLD.state, -1); END IF; RETURN NULL;"
    )
    op.execute(f"CREATE OR REPLACE FUNCTION job_counted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")


def _guard_kind() -> None:
    if _is_sqlite():
        op.execute(f"CREATE TRIGGER job_kind BEFORE UPDATE ON job WHEN NEW.kind <> OLD.kind BEGIN SELECT RAISE(ABORT, '{_KEPT}'); END")
        return
    refusal = f"RAISE EXCEPTION '{_KEPT}' USING ERRCODE = 'check_violation';"
    op.execute(f"CREATE FUNCTION job_kind() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {refusal} END $$")
    op.execute("CREATE TRIGGER job_kind BEFORE UPDATE ON job FOR EACH ROW WHEN (NEW.kind <> OLD.kind) EXECUTE FUNCTION job_kind()")


def upgrade() -> None:
    """Everything that there is becomes a transcription."""
    op.add_column("job", sa.Column("kind", sa.SmallInteger(), nullable=False, server_default=sa.text("0")))
    _create_trainings()
    _create_detector()
    _create_orders()
    _index_kinds()
    (_sqlite_tallies if _is_sqlite() else _postgres_tallies)(kinds=True)
    _guard_kind()


def _remove_kinds() -> None:
    """The version before would transcribe them: they go with their files; billing's holds without a job are given back by themselves."""
    now = "(CAST(strftime('%s', 'now') AS INTEGER) * 1000000)" if _is_sqlite() else "now()"
    columns = "INSERT INTO removal (kind, resource_id, workspace_id, job_id, attempts, next_time)"
    again = "ON CONFLICT DO NOTHING"
    held = "kind = 2 AND (removal_time IS NOT NULL OR state IN (1, 2))"
    announced = "announced_artefact a JOIN job ON job.id = a.job_id WHERE job.kind <> 0"
    op.execute(sa.text(f"{columns} SELECT 'media', media_id, workspace_id, '', 0, {now} FROM job WHERE {held} {again}"))  # noqa: S608
    op.execute(sa.text(f"{columns} SELECT 'artefact', artefact_id, workspace_id, '', 0, {now} FROM detector WHERE true {again}"))  # noqa: S608
    op.execute(sa.text(f"{columns} SELECT 'artefact', a.artefact_id, job.workspace_id, '', 0, {now} FROM {announced} {again}"))  # noqa: S608
    for table in ("announced_artefact", "window_checkpoint"):
        op.execute(sa.text(f"DELETE FROM {table} WHERE job_id IN (SELECT id FROM job WHERE kind <> 0)"))  # noqa: S608
    _delete_kinds()


def _delete_kinds() -> None:
    if not _is_sqlite():
        op.execute("ALTER TABLE job DISABLE TRIGGER job_removal")
        op.execute("DELETE FROM job WHERE kind <> 0")
        op.execute("ALTER TABLE job ENABLE TRIGGER job_removal")
        return
    [guard] = op.get_bind().execute(sa.text("SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = 'job_removal'")).scalars()
    op.execute("DROP TRIGGER job_removal")
    op.execute("DELETE FROM job WHERE kind <> 0")
    op.execute(sa.text(guard.replace(":", r"\:")))


def downgrade() -> None:
    """What is no transcription goes."""
    _remove_kinds()
    op.execute("DROP TRIGGER job_kind" + ("" if _is_sqlite() else " ON job"))
    if not _is_sqlite():
        op.execute("DROP FUNCTION job_kind()")
    (_sqlite_tallies if _is_sqlite() else _postgres_tallies)(kinds=False)
    op.drop_index("job_training", "job")
    op.drop_index("job_by_media", "job")
    op.create_index("job_by_media", "job", ["media_id"], unique=True)
    for name, (_, _, columns, condition) in _CHANGED.items():
        op.drop_index(name, "job")
        _index(name, "job", columns, condition)
    op.drop_column("job", "kind")
    for table in ("detection_part", "inference_file", "inference_order", "detector", "training_epoch", "training_job"):
        op.drop_table(table)
