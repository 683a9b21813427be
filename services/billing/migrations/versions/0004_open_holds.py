"""Open holds by workspace, which every check of the ledger adds up."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_OPEN = sa.text("state = 'OPEN'")


def upgrade() -> None:
    """Add the index."""
    op.create_index("ix_hold_open_workspace_id", "hold", ["workspace_id"], sqlite_where=_OPEN, postgresql_where=_OPEN)


def downgrade() -> None:
    """Take it away again."""
    op.drop_index("ix_hold_open_workspace_id", "hold")
