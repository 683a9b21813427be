"""On Postgres a session sees the rows of its workspace and of the wallets below it only."""

from alembic import op

from services.mesh.row_security import exposure, protection, rows_beside, rows_of

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
# Code of before names no workspace, and would see nothing. It was part of no release.
contract = True
contract_release = "0.1.0"

_OWNED = ("account", "api_key", "checkout", "hold", "transfer")
_TENANT = f"({rows_of('id')} OR {rows_of('parent_id')})"


def upgrade() -> None:
    """Lock the tables."""
    if op.get_bind().dialect.name == "sqlite":
        return
    owned = {table: f"{rows_of()} OR {rows_beside(table, 'workspace_id', 'workspace')}" for table in _OWNED}
    for table, condition in {"workspace": _TENANT, **owned}.items():
        for statement in protection(table, condition):
            op.execute(statement)


def downgrade() -> None:
    """Open them again."""
    if op.get_bind().dialect.name == "sqlite":
        return
    for table in (*_OWNED, "workspace"):
        for statement in exposure(table):
            op.execute(statement)
