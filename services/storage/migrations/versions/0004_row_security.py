"""On Postgres a session sees the rows of its workspace only."""

from alembic import op

from services.mesh.row_security import exposure, protection, rows_of

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
# Code of before names no workspace, and would see nothing. It was part of no release.
contract = True
contract_release = "0.1.0"

_OWNED = ("media", "artefact", "dataset", "dataset_audio", "annotation_set", "annotation")


def upgrade() -> None:
    """Lock the tables."""
    if op.get_bind().dialect.name == "sqlite":
        return
    for table in _OWNED:
        for statement in protection(table, rows_of()):
            op.execute(statement)


def downgrade() -> None:
    """Open them again."""
    if op.get_bind().dialect.name == "sqlite":
        return
    for table in _OWNED:
        for statement in exposure(table):
            op.execute(statement)
