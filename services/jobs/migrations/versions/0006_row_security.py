"""On Postgres a session sees the rows of its workspace only."""

from alembic import op

from services.mesh.row_security import exposure, protection, rows_beside, rows_of

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
# Code of before names no workspace, and would see nothing. It was part of no release.
contract = True
contract_release = "0.1.0"

_OWNED = ("job", "idempotency", "job_tally", "removal", "tombstone", "detector", "inference_order", "inference_file", "training_job")
_OF_JOBS = ("window_checkpoint", "announced_artefact", "detection_part", "training_epoch")


def upgrade() -> None:
    """Lock the tables."""
    if op.get_bind().dialect.name == "sqlite":
        return
    conditions = {table: rows_of() for table in _OWNED} | {table: rows_beside(table, "job_id", "job") for table in _OF_JOBS}
    for table, condition in conditions.items():
        for statement in protection(table, condition):
            op.execute(statement)


def downgrade() -> None:
    """Open them again."""
    if op.get_bind().dialect.name == "sqlite":
        return
    for table in (*_OF_JOBS, *_OWNED):
        for statement in exposure(table):
            op.execute(statement)
