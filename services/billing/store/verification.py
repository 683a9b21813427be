"""Recomputes accounts from their transfers. Every ledger is closed within its workspace, so each is checked alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, or_, select, union_all
from sqlmodel.ext.asyncio.session import AsyncSession

from services.billing.domain import EntryKind, HoldState
from services.billing.store import tables
from services.billing.store.tables import Hold, Transfer, Workspace
from services.mesh.columns import table_of

_workspace, _account = table_of(Workspace), table_of(tables.Account)
_transfer, _hold = table_of(Transfer), table_of(Hold)
_TOTALS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
_POSTED = tuple(kind.value for kind in (EntryKind.GRANT, EntryKind.SETTLEMENT, EntryKind.EXPIRY, EntryKind.OVERAGE))


@dataclass(frozen=True)
class Findings:
    """What a check found; `__add__` joins those of several workspaces."""

    imbalance_ms: int = 0
    wrong_account_count: int = 0
    transfer_count: int = 0
    open_hold_count: int = 0

    @property
    def is_sound(self) -> bool:
        return self.imbalance_ms == 0 and self.wrong_account_count == 0

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(
            self.imbalance_ms + other.imbalance_ms,
            self.wrong_account_count + other.wrong_account_count,
            self.transfer_count + other.transfer_count,
            self.open_hold_count + other.open_hold_count,
        )


async def list_workspaces(session: AsyncSession, after_id: str, limit: int) -> Sequence[str]:
    """Ids of workspaces, in order."""
    statement = select(_workspace.c.id).where(_workspace.c.id > after_id).order_by(_workspace.c.id).limit(limit)
    return (await (await session.connection()).execute(statement)).scalars().all()


def _sum(condition: ColumnElement[bool], amount: ColumnElement[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, amount), else_=0)), 0)


def _side(account: ColumnElement[str], debit: bool, workspaces: Sequence[str]) -> Select[*tuple[Any, ...]]:
    ending = _transfer.alias("ending")
    open_hold = and_(_transfer.c.kind == EntryKind.HOLD.value, ending.c.id.is_(None))
    pending = _sum(open_hold, _transfer.c.amount_ms)
    posted = _sum(_transfer.c.kind.in_(_POSTED), _transfer.c.amount_ms)
    nothing = literal(0)
    amounts = (pending, posted, nothing, nothing) if debit else (nothing, nothing, pending, posted)
    return (
        select(account.label("account"), *(amount.label(name) for amount, name in zip(amounts, _TOTALS, strict=True)))
        .select_from(_transfer.outerjoin(ending, ending.c.pending_id == _transfer.c.id))
        .where(_transfer.c.workspace_id.in_(workspaces))
        .group_by(account)
    )


def _compared(workspaces: Sequence[str]) -> Select[*tuple[Any, ...]]:
    """Every account's stored totals beside the ones recomputed from its transfers."""
    sides = union_all(_side(_transfer.c.debit_account, True, workspaces), _side(_transfer.c.credit_account, False, workspaces)).subquery()
    sums = select(sides.c.account, *(func.sum(sides.c[name]).label(name) for name in _TOTALS)).group_by(sides.c.account).subquery()
    held = (
        select(func.coalesce(func.sum(_hold.c.amount_ms), 0))
        .where(_hold.c.workspace_id == _account.c.workspace_id, _hold.c.state == HoldState.OPEN.value)
        .scalar_subquery()
    )
    wrong = or_(
        *(_account.c[name] != func.coalesce(sums.c[name], 0) for name in _TOTALS),
        and_(_account.c.kind == "usage", _account.c.credits_pending != held),
    )
    pending = func.sum(_account.c.credits_pending - _account.c.debits_pending)
    posted = func.sum(_account.c.credits_posted - _account.c.debits_posted)
    return (
        select(
            func.abs(pending).label("pending"),
            func.abs(posted).label("posted"),
            func.sum(case((wrong, 1), else_=0)).label("wrong"),
        )
        .select_from(_account.outerjoin(sums, sums.c.account == _account.c.id))
        .where(_account.c.workspace_id.in_(workspaces))
        .group_by(_account.c.workspace_id)
    )


async def check_workspaces(session: AsyncSession, workspaces: Sequence[str]) -> Findings:
    """Compare the accounts of some workspaces with their transfers."""
    rows = (await (await session.connection()).execute(_compared(workspaces))).all()
    counts = select(
        select(func.count()).select_from(_transfer).where(_transfer.c.workspace_id.in_(workspaces)).scalar_subquery(),
        select(func.count())
        .select_from(_hold)
        .where(_hold.c.workspace_id.in_(workspaces), _hold.c.state == HoldState.OPEN.value)
        .scalar_subquery(),
    )
    transfer_count, open_hold_count = (await (await session.connection()).execute(counts)).one()
    imbalance_ms = sum(int(row.pending) + int(row.posted) for row in rows)
    return Findings(imbalance_ms, sum(int(row.wrong) for row in rows), transfer_count, open_hold_count)
