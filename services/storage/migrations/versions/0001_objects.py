"""Media, artefacts and the outbox."""

import sqlalchemy as sa
from alembic import op

from services.mesh.columns import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UNSETTLED = sa.text("state <> 'ready'")
_UNSENT, _SENT = sa.text("sent_time IS NULL"), sa.text("sent_time IS NOT NULL")


def _object_columns() -> "list[sa.Column[object]]":
    return [
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("workspace_id", sa.String(36), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("object_key", sa.String(32), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("media_type", sa.String(127), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("change_time", UtcDateTime(), nullable=False),
    ]


def _probe_columns() -> "list[sa.Column[object]]":
    return [
        sa.Column("filename", sa.String(255), nullable=False),
        sa.Column("container", sa.String(32), nullable=False),
        sa.Column("codec", sa.String(32), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("sample_rate_hz", sa.Integer(), nullable=False),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column("has_video", sa.Boolean(), nullable=False),
    ]


def _create_objects(table: str, extra: "list[sa.Column[object]]") -> None:
    op.create_table(
        table,
        *_object_columns(),
        *extra,
        sa.CheckConstraint("state in ('uploading', 'ready', 'deleted')", name=f"ck_{table}_state"),
        sa.CheckConstraint("state <> 'ready' or (object_key is not null and sha256 <> '')", name=f"ck_{table}_ready"),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        sa.UniqueConstraint("object_key", name=f"uq_{table}_object_key"),
    )
    op.create_index(f"ix_{table}_unsettled", table, ["state", "change_time"], sqlite_where=_UNSETTLED, postgresql_where=_UNSETTLED)


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message_type", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("trace_parent", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_time", UtcDateTime(), nullable=False),
        sa.Column("sent_time", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_unsent", "outbox", ["id"], sqlite_where=_UNSENT, postgresql_where=_UNSENT)
    op.create_index("ix_outbox_sent", "outbox", ["sent_time"], sqlite_where=_SENT, postgresql_where=_SENT)


def upgrade() -> None:
    """Create the tables."""
    _create_objects("media", _probe_columns())
    op.create_index("ix_media_create_time_id", "media", ["create_time", "id"])
    _create_objects("artefact", [])
    _create_outbox()


def downgrade() -> None:
    """Drop the tables."""
    for table in ("outbox", "artefact", "media"):
        op.drop_table(table)
