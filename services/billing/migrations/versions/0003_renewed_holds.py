"""Holds that stand until a time unless they are renewed."""

import sqlalchemy as sa
from alembic import op

from services.mesh.columns import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time."""
    op.add_column("hold", sa.Column("expire_time", UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Take it away again; such holds then end by their age."""
    op.drop_column("hold", "expire_time")
