"""Workspaces, keys, the ledger, outbox."""

import sqlalchemy as sa
from alembic import op

from services.mesh.columns import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OPEN = sa.text("state = 'OPEN'")


def _text(name: str, *, nullable: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sa.String(), nullable=nullable)


def _amount(name: str) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _time(name: str, *, nullable: bool = False) -> "sa.Column[object]":
    return sa.Column(name, UtcDateTime(), nullable=nullable)


def _create_workspace() -> None:
    op.create_table(
        "workspace",
        _text("id"),
        _text("name"),
        _text("plan"),
        _time("create_time"),
        _text("period"),
        _amount("used_before_ms"),
        _amount("granted_before_ms"),
        _time("exhausted_time", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_workspace"),
    )


def _create_api_key() -> None:
    op.create_table(
        "api_key",
        _text("id"),
        _text("workspace_id"),
        _text("name"),
        sa.Column("kind", sa.Integer(), nullable=False),
        _text("digest"),
        _text("key_prefix"),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        _time("create_time"),
        _time("expire_time", nullable=True),
        _time("last_use_time", nullable=True),
        _time("revoke_time", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_key"),
        sa.UniqueConstraint("digest", name="uq_api_key_digest"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name="fk_api_key_workspace_id_workspace"),
    )
    op.create_index("ix_api_key_workspace_id_id", "api_key", ["workspace_id", "id"])


def _create_account() -> None:
    totals = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
    op.create_table(
        "account",
        _text("id"),
        _text("workspace_id"),
        _text("kind"),
        *(_amount(name) for name in totals),
        sa.PrimaryKeyConstraint("id", name="pk_account"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name="fk_account_workspace_id_workspace"),
        *(sa.CheckConstraint(f"{name} >= 0", name=op.f(f"ck_account_{name}")) for name in totals),
        sa.CheckConstraint(
            "kind <> 'plan' OR debits_pending + debits_posted <= credits_posted",
            name=op.f("ck_account_plan_never_below_zero"),
        ),
    )
    op.create_index("ix_account_workspace_id", "account", ["workspace_id"])


def _create_transfer() -> None:
    op.create_table(
        "transfer",
        _text("id"),
        _text("workspace_id"),
        _text("debit_account"),
        _text("credit_account"),
        _amount("amount_ms"),
        _text("kind"),
        _text("pending_id", nullable=True),
        _text("job_id"),
        _time("create_time"),
        sa.PrimaryKeyConstraint("id", name="pk_transfer"),
        sa.UniqueConstraint("pending_id", name="uq_transfer_pending_id"),
        sa.ForeignKeyConstraint(["debit_account"], ["account.id"], name="fk_transfer_debit_account_account"),
        sa.ForeignKeyConstraint(["credit_account"], ["account.id"], name="fk_transfer_credit_account_account"),
        sa.ForeignKeyConstraint(["pending_id"], ["transfer.id"], name="fk_transfer_pending_id_transfer"),
        sa.CheckConstraint("amount_ms > 0", name=op.f("ck_transfer_amount")),
        sa.CheckConstraint("debit_account <> credit_account", name=op.f("ck_transfer_two_accounts")),
        sa.CheckConstraint("(kind IN ('SETTLEMENT', 'RELEASE')) = (pending_id IS NOT NULL)", name=op.f("ck_transfer_only_holds_end")),
    )
    op.create_index("ix_transfer_workspace_id_create_time_id", "transfer", ["workspace_id", "create_time", "id"])
    op.create_index("ix_transfer_job_id", "transfer", ["job_id"])


def _create_hold() -> None:
    op.create_table(
        "hold",
        _text("job_id"),
        _text("workspace_id"),
        _amount("amount_ms"),
        _amount("settled_ms"),
        _text("state"),
        _time("create_time"),
        _time("end_time", nullable=True),
        sa.PrimaryKeyConstraint("job_id", name="pk_hold"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name="fk_hold_workspace_id_workspace"),
        sa.CheckConstraint("amount_ms > 0 AND settled_ms >= 0", name=op.f("ck_hold_amounts")),
        sa.CheckConstraint("state = 'SETTLED' OR settled_ms = 0", name=op.f("ck_hold_only_settled_is_charged")),
    )
    op.create_index("ix_hold_open", "hold", ["create_time", "job_id"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("ix_hold_workspace_id", "hold", ["workspace_id"])


def _create_events() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Text(), nullable=False),
        _time("create_time"),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("message_type", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("trace_parent", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _time("next_time"),
        _time("sent_time", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    unsent, sent = sa.text("sent_time IS NULL"), sa.text("sent_time IS NOT NULL")
    op.create_index("ix_outbox_unsent", "outbox", ["id"], sqlite_where=unsent, postgresql_where=unsent)
    op.create_index("ix_outbox_sent", "outbox", ["sent_time"], sqlite_where=sent, postgresql_where=sent)


_SQLITE_TRIGGERS = (
    "CREATE TRIGGER transfer_not_changed BEFORE UPDATE ON transfer BEGIN SELECT RAISE(ABORT, 'transfers are never changed'); END",
    "CREATE TRIGGER transfer_not_deleted BEFORE DELETE ON transfer BEGIN SELECT RAISE(ABORT, 'transfers are never deleted'); END",
    # INSERT OR REPLACE deletes without firing the trigger above.
    "CREATE TRIGGER transfer_not_replaced BEFORE INSERT ON transfer"
    " WHEN EXISTS (SELECT 1 FROM transfer WHERE id = NEW.id OR pending_id = NEW.pending_id)"
    " BEGIN SELECT RAISE(ABORT, 'transfers are never replaced'); END",
    "CREATE TRIGGER hold_ends_once BEFORE UPDATE ON hold WHEN OLD.state <> 'OPEN' BEGIN SELECT RAISE(ABORT, 'the hold has ended'); END",
)
_POSTGRES_TRIGGERS = (
    "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION '% of % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$",
    "CREATE TRIGGER transfer_not_changed BEFORE UPDATE OR DELETE ON transfer FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER transfer_not_emptied BEFORE TRUNCATE ON transfer FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    "CREATE TRIGGER hold_ends_once BEFORE UPDATE ON hold FOR EACH ROW WHEN (OLD.state <> 'OPEN') EXECUTE FUNCTION refuse_change()",
)


def _create_triggers() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    for statement in _POSTGRES_TRIGGERS if postgres else _SQLITE_TRIGGERS:
        op.execute(statement)


def upgrade() -> None:
    """Create everything."""
    _create_workspace()
    _create_api_key()
    _create_account()
    _create_transfer()
    _create_hold()
    _create_events()
    _create_triggers()


def downgrade() -> None:
    """Drop everything."""
    for table in ("outbox", "hold", "transfer", "account", "api_key", "workspace"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change")
