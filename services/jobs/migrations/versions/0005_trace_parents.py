"""Where the trace of a job's order stands, so that its work belongs to the same trace."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEPT = "the trace of a job does not change"
_CHANGED = "NEW.trace_parent <> OLD.trace_parent"


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def upgrade() -> None:
    """Add the column, which stays as it was ordered; jobs of before have no trace."""
    op.add_column("job", sa.Column("trace_parent", sa.String(), nullable=False, server_default=sa.text("''")))
    if _is_sqlite():
        op.execute(f"CREATE TRIGGER job_trace BEFORE UPDATE ON job WHEN {_CHANGED} BEGIN SELECT RAISE(ABORT, '{_KEPT}'); END")
        return
    refusal = f"RAISE EXCEPTION '{_KEPT}' USING ERRCODE = 'check_violation';"
    op.execute(f"CREATE FUNCTION job_trace() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {refusal} END $$")
    op.execute(f"CREATE TRIGGER job_trace BEFORE UPDATE ON job FOR EACH ROW WHEN ({_CHANGED}) EXECUTE FUNCTION job_trace()")


def downgrade() -> None:
    """Take it away again."""
    op.execute("DROP TRIGGER job_trace" + ("" if _is_sqlite() else " ON job"))
    if not _is_sqlite():
        op.execute("DROP FUNCTION job_trace()")
    op.drop_column("job", "trace_parent")
