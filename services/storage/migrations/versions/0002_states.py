"""Guards of the states: nothing comes back, what is readable does not change, and no row goes before its bytes were ordered to."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = ("media", "artefact")
_EDGE = "(OLD.state = 'ready' AND NEW.state = 'uploading') OR (OLD.state = 'deleted' AND NEW.state <> 'deleted')"
_IDENTITY = "NEW.id <> OLD.id OR NEW.workspace_id <> OLD.workspace_id"
_STORED = ("object_key", "size_bytes", "sha256", "media_type")


def _changes(differs: str) -> str:
    facts = " OR ".join(f"NEW.{name} {differs} OLD.{name}" for name in _STORED)
    return f"{_EDGE} OR {_IDENTITY} OR (OLD.state <> 'uploading' AND ({facts}))"


def _guard_sqlite(table: str) -> None:
    refusals = {
        f"{table}_edge": ("UPDATE", _changes("IS NOT"), "no such change of a stored object"),
        f"{table}_kept": ("DELETE", "OLD.state <> 'deleted'", "a stored object is deleted before its row goes"),
    }
    for name, (moment, condition, message) in refusals.items():
        op.execute(f"CREATE TRIGGER {name} BEFORE {moment} ON {table} WHEN {condition} BEGIN SELECT RAISE(ABORT, '{message}'); END")


def _guard_postgres(table: str) -> None:
    for name, moment, condition in (
        (f"{table}_edge", "UPDATE", _changes("IS DISTINCT FROM")),
        (f"{table}_kept", "DELETE", "OLD.state <> 'deleted'"),
    ):
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {moment} ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse_object_change()"
        )


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def upgrade() -> None:
    """Add the triggers."""
    if not _is_sqlite():
        op.execute(
            "CREATE FUNCTION refuse_object_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '% of % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'check_violation'; END $$"
        )
    for table in _TABLES:
        (_guard_sqlite if _is_sqlite() else _guard_postgres)(table)


def downgrade() -> None:
    """Drop them."""
    for table in _TABLES:
        for name in (f"{table}_edge", f"{table}_kept"):
            op.execute(f"DROP TRIGGER {name}" if _is_sqlite() else f"DROP TRIGGER {name} ON {table}")
    if not _is_sqlite():
        op.execute("DROP FUNCTION refuse_object_change")
