"""Artefacts that claims announce before they store their results."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "announced_artefact",
        sa.Column("job_id", sa.String(), nullable=False),
        sa.Column("artefact_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "artefact_id", name="pk_announced_artefact"),
    )


def downgrade() -> None:
    """Take it away again; what a worker then leaves behind when it dies stays."""
    op.drop_table("announced_artefact")
