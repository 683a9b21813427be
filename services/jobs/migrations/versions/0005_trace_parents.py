"""Where the trace of a job's order stands, so that its work belongs to the same trace."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; jobs of before have no trace."""
    op.add_column("job", sa.Column("trace_parent", sa.String(), nullable=False, server_default=sa.text("''")))


def downgrade() -> None:
    """Take it away again."""
    op.drop_column("job", "trace_parent")
