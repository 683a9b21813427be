"""Wallets of users and anonymous buyers, counted uploads, purchases."""

import sqlalchemy as sa
from alembic import op

from services.mesh.columns import UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_GRANT = sa.text("kind = 'GRANT'")


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.String(), nullable=False)


def _add_wallets() -> None:
    # SQLite adds a foreign key with its column, never later, and Alembic does not put the two in one statement.
    op.execute("ALTER TABLE workspace ADD COLUMN parent_id VARCHAR CONSTRAINT fk_workspace_parent_id_workspace REFERENCES workspace (id)")
    op.add_column("workspace", sa.Column("email", sa.String(), nullable=True))
    op.add_column("workspace", sa.Column("guest_digest", sa.String(), nullable=True))
    op.create_index("uq_workspace_parent_id_email", "workspace", ["parent_id", "email"], unique=True)
    op.create_index("ix_workspace_guest_digest", "workspace", ["guest_digest"], unique=True)


def _count_uploads() -> None:
    op.add_column("hold", sa.Column("upload_period", sa.String(), nullable=True))
    op.drop_index("ix_hold_workspace_id", "hold")
    op.create_index("ix_hold_workspace_id_upload_period", "hold", ["workspace_id", "upload_period"])
    op.create_index("ix_transfer_grants", "transfer", ["workspace_id", "create_time"], sqlite_where=_GRANT, postgresql_where=_GRANT)


def _create_checkout() -> None:
    op.create_table(
        "checkout",
        *map(_text, ("id", "workspace_id", "wallet_id", "credit_pack")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("amount_ms", "price_cents")),
        *map(_text, ("currency", "plan", "session_id", "url", "state")),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("end_time", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_checkout"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name="fk_checkout_workspace_id_workspace"),
        sa.ForeignKeyConstraint(["wallet_id"], ["workspace.id"], name="fk_checkout_wallet_id_workspace"),
        sa.CheckConstraint("amount_ms > 0 AND price_cents > 0", name=op.f("ck_checkout_amounts")),
    )


def upgrade() -> None:
    """Add all of it."""
    _add_wallets()
    _count_uploads()
    _create_checkout()


def downgrade() -> None:
    """Take it away again; users and buyers become workspaces of their own."""
    op.drop_table("checkout")
    op.drop_index("ix_transfer_grants", "transfer")
    op.drop_index("ix_hold_workspace_id_upload_period", "hold")
    op.create_index("ix_hold_workspace_id", "hold", ["workspace_id"])
    op.drop_column("hold", "upload_period")
    op.drop_index("ix_workspace_guest_digest", "workspace")
    op.drop_index("uq_workspace_parent_id_email", "workspace")
    for column in ("guest_digest", "email", "parent_id"):
        op.drop_column("workspace", column)
