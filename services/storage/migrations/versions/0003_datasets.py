"""Datasets, their audio, annotation sets and annotations; published sets do not change."""

import sqlalchemy as sa
from alembic import op

from services.mesh.columns import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OF_DATASET = sa.text("dataset_id is not null")
_PUBLISHED = "OLD.state = 'published'"
_IN_PUBLISHED = "EXISTS (SELECT 1 FROM annotation_set s WHERE s.id = NEW.annotation_set_id AND s.state = 'published')"


def _text(name: str, length: int, *, nullable: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sa.String(length), nullable=nullable)


def _create_dataset() -> None:
    op.create_table(
        "dataset",
        _text("id", 36),
        _text("workspace_id", 36),
        _text("owner", 255),
        _text("name", 255),
        _text("description", 2000),
        sa.Column("artifact_types", sa.JSON(), nullable=False),
        sa.Column("last_version", sa.Integer(), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("change_time", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_dataset"),
    )
    op.create_index("ix_dataset_workspace_id_owner_id", "dataset", ["workspace_id", "owner", "id"])


def _create_audio() -> None:
    op.create_table(
        "dataset_audio",
        _text("id", 36),
        _text("workspace_id", 36),
        _text("dataset_id", 36),
        _text("media_id", 36),
        _text("source_media_id", 36, nullable=True),
        _text("original_filename", 255),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        _text("state", 16),
        _text("error_message", 500),
        _text("features_id", 36, nullable=True),
        sa.Column("features_version", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_time", UtcDateTime(), nullable=False),
        _text("lease_id", 36, nullable=True),
        sa.Column("lease_time", UtcDateTime(), nullable=True),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.CheckConstraint("state in ('pending', 'normalizing', 'embedding', 'ready', 'failed')", name="ck_dataset_audio_state"),
        sa.PrimaryKeyConstraint("id", name="pk_dataset_audio"),
        sa.UniqueConstraint("dataset_id", "source_media_id", name="uq_dataset_audio_dataset_id_source_media_id"),
        sa.UniqueConstraint("media_id", name="uq_dataset_audio_media_id"),
    )
    op.create_index("ix_dataset_audio_dataset_id_id", "dataset_audio", ["dataset_id", "id"])
    op.create_index("ix_dataset_audio_state_next_time", "dataset_audio", ["state", "next_time"])


def _create_set() -> None:
    op.create_table(
        "annotation_set",
        _text("id", 36),
        _text("workspace_id", 36),
        _text("dataset_id", 36),
        sa.Column("version", sa.Integer(), nullable=False),
        _text("state", 16),
        sa.Column("total_annotations", sa.BigInteger(), nullable=False),
        sa.Column("total_positive_duration_ms", sa.BigInteger(), nullable=False),
        sa.Column("annotations_by_type", sa.JSON(), nullable=False),
        sa.Column("create_time", UtcDateTime(), nullable=False),
        sa.Column("publish_time", UtcDateTime(), nullable=True),
        sa.CheckConstraint("state in ('draft', 'published')", name="ck_annotation_set_state"),
        sa.PrimaryKeyConstraint("id", name="pk_annotation_set"),
        sa.UniqueConstraint("dataset_id", "version", name="uq_annotation_set_dataset_id_version"),
    )


def _create_annotation() -> None:
    op.create_table(
        "annotation",
        _text("id", 36),
        _text("workspace_id", 36),
        _text("dataset_id", 36),
        _text("annotation_set_id", 36),
        _text("audio_id", 36),
        _text("artifact_type", 100),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("extra_data", sa.JSON(), nullable=False),
        sa.CheckConstraint("start_ms >= 0 and end_ms > start_ms", name="ck_annotation_span"),
        sa.CheckConstraint("confidence >= 0 and confidence <= 1", name="ck_annotation_confidence"),
        sa.PrimaryKeyConstraint("id", name="pk_annotation"),
    )
    op.create_index("ix_annotation_place", "annotation", ["annotation_set_id", "audio_id", "start_ms", "id"])
    op.create_index("ix_annotation_audio_id", "annotation", ["audio_id"])


def _guard_sqlite() -> None:
    refuse = "BEGIN SELECT RAISE(ABORT, 'a published annotation set does not change'); END"
    op.execute(f"CREATE TRIGGER annotation_set_kept BEFORE UPDATE ON annotation_set WHEN {_PUBLISHED} {refuse}")
    op.execute(f"CREATE TRIGGER annotation_added BEFORE INSERT ON annotation WHEN {_IN_PUBLISHED} {refuse}")
    op.execute(f"CREATE TRIGGER annotation_changed BEFORE UPDATE ON annotation WHEN {_IN_PUBLISHED} {refuse}")


def _guard_postgres() -> None:
    raised = "RAISE EXCEPTION 'a published annotation set does not change' USING ERRCODE = 'check_violation'"
    op.execute(f"CREATE FUNCTION refuse_set_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {raised}; END $$")
    op.execute(
        "CREATE FUNCTION refuse_annotation() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN IF {_IN_PUBLISHED} THEN {raised}; END IF; RETURN NEW; END $$"
    )
    op.execute(
        f"CREATE TRIGGER annotation_set_kept BEFORE UPDATE ON annotation_set FOR EACH ROW WHEN ({_PUBLISHED}) "
        "EXECUTE FUNCTION refuse_set_change()"
    )
    op.execute("CREATE TRIGGER annotation_added BEFORE INSERT OR UPDATE ON annotation FOR EACH ROW EXECUTE FUNCTION refuse_annotation()")


def upgrade() -> None:
    """Create the tables and their guards; media learns of datasets and forms."""
    op.add_column("media", _text("dataset_id", 36, nullable=True))
    op.add_column("media", _text("upload_key", 32, nullable=True))
    op.create_index("ix_media_dataset_id", "media", ["dataset_id"], sqlite_where=_OF_DATASET, postgresql_where=_OF_DATASET)
    for create in (_create_dataset, _create_audio, _create_set, _create_annotation):
        create()
    (_guard_sqlite if op.get_bind().dialect.name == "sqlite" else _guard_postgres)()


def downgrade() -> None:
    """Drop them."""
    for table in ("annotation", "annotation_set", "dataset_audio", "dataset"):
        op.drop_table(table)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION refuse_annotation")
        op.execute("DROP FUNCTION refuse_set_change")
    op.drop_index("ix_media_dataset_id", "media")
    for name in ("upload_key", "dataset_id"):
        op.drop_column("media", name)
