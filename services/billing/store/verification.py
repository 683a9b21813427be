"""What the ledger's checks read: accounts as they stand, and what transfers of some time add up to.

What a transfer does depends on nothing but itself and the hold it ends, and neither ever changes: sums of parts can be added.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Subquery, and_, case, func, literal, literal_column, select, tuple_, union_all
from sqlmodel.ext.asyncio.session import AsyncSession

from services.billing.domain import EntryKind, Totals
from services.billing.store import tables
from services.billing.store.tables import Hold, Transfer, Workspace
from services.mesh.columns import table_of

_workspace, _account = table_of(Workspace), table_of(tables.Account)
_transfer, _hold = table_of(Transfer), table_of(Hold)
_ended = _transfer.alias("ended")
_TOTALS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
_POSTED = tuple(kind.value for kind in (EntryKind.GRANT, EntryKind.SETTLEMENT, EntryKind.EXPIRY, EntryKind.OVERAGE))
_KEY_COLUMNS = (_transfer.c.workspace_id, _transfer.c.create_time, _transfer.c.id)
_KEY = tuple_(*_KEY_COLUMNS)

Place = tuple[str, datetime, str]
"""A transfer's workspace, time and id: its place in the order in which history is read."""


@dataclass
class Ledger:
    """Totals of a workspace's accounts by account id, as stored or as transfers add up to, and how many transfers those are."""

    accounts: dict[str, Totals] = field(default_factory=dict)
    transfer_count: int = 0

    def add(self, account: str, totals: Totals, transfer_count: int = 0) -> None:
        """Add to one account."""
        self.accounts[account] = self.accounts.get(account, Totals()) + totals
        self.transfer_count += transfer_count


@dataclass(frozen=True)
class Stored:
    """A workspace's accounts as they stand, the id of its usage account, and its open holds."""

    ledger: Ledger
    usage_account: str
    open_hold_count: int
    held_ms: int

    @property
    def pending_ms(self) -> int:
        """What the accounts say that open holds are."""
        return self.ledger.accounts.get(self.usage_account, Totals()).credits_pending


async def list_workspaces(session: AsyncSession, after_id: str, limit: int) -> Sequence[str]:
    """Ids of workspaces, in order."""
    statement = select(_workspace.c.id).where(_workspace.c.id > after_id).order_by(_workspace.c.id).limit(limit)
    return (await (await session.connection()).execute(statement)).scalars().all()


async def read_stored(session: AsyncSession, workspace_ids: Sequence[str]) -> dict[str, Stored]:
    """What accounts and holds say, by workspace."""
    connection = await session.connection()
    # Spelt out, not bound: with a parameter the partial index is not used.
    open_holds = (
        select(_hold.c.workspace_id, func.count(), func.sum(_hold.c.amount_ms))
        .where(literal_column("state = 'OPEN'"), _hold.c.workspace_id.in_(workspace_ids))
        .group_by(_hold.c.workspace_id)
    )
    held = {row[0]: (int(row[1]), int(row[2])) for row in await connection.execute(open_holds)}
    ledgers: dict[str, Ledger] = {workspace_id: Ledger() for workspace_id in workspace_ids}
    usage_accounts: dict[str, str] = {}
    for row in await connection.execute(select(_account).where(_account.c.workspace_id.in_(workspace_ids))):
        ledgers[row.workspace_id].add(row.id, Totals(*(getattr(row, name) for name in _TOTALS)))
        if row.kind == "usage":
            usage_accounts[row.workspace_id] = row.id
    return {key: Stored(ledger, usage_accounts.get(key, ""), *held.get(key, (0, 0))) for key, ledger in ledgers.items()}


def _effects(condition: ColumnElement[bool]) -> Subquery:
    """What each transfer does to its two accounts: how much it adds to what is pending and to what is posted."""
    holds = case((_transfer.c.kind == EntryKind.HOLD.value, _transfer.c.amount_ms), else_=-func.coalesce(_ended.c.amount_ms, 0))
    posts = case((_transfer.c.kind.in_(_POSTED), _transfer.c.amount_ms), else_=0)
    names = ("workspace_id", "debit_account", "credit_account")
    return (
        select(*(_transfer.c[name] for name in names), holds.label("pending"), posts.label("posted"))
        .select_from(_transfer.outerjoin(_ended, _ended.c.id == _transfer.c.pending_id))
        .where(condition)
        .subquery()
    )


def _sums(condition: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """The effects by workspace and account."""
    effects, nothing = _effects(condition), literal(0)
    done = (func.sum(effects.c.pending), func.sum(effects.c.posted))
    sides = (
        (effects.c.debit_account, (*done, nothing, nothing), func.count()),
        (effects.c.credit_account, (nothing, nothing, *done), nothing),
    )
    # Named: columns that are called alike are taken for one.
    selects = [
        select(
            effects.c.workspace_id,
            account.label("account"),
            *(total.label(name) for name, total in zip(_TOTALS, totals, strict=True)),
            count.label("transfer_count"),
        ).group_by(effects.c.workspace_id, account)
        for account, totals, count in sides
    ]
    return select(union_all(*selects).subquery())


async def _add_up(session: AsyncSession, condition: ColumnElement[bool], ledgers: dict[str, Ledger]) -> None:
    for row in await (await session.connection()).execute(_sums(condition)):
        ledgers.setdefault(row[0], Ledger()).add(row[1], Totals(*map(int, row[2:6])), int(row[6]))


async def sum_since(session: AsyncSession, workspace_ids: Sequence[str], since: datetime) -> dict[str, Ledger]:
    """What transfers from a time on add up to, by workspace; those that have none are left out."""
    ledgers: dict[str, Ledger] = {}
    await _add_up(session, and_(_transfer.c.workspace_id.in_(workspace_ids), _transfer.c.create_time >= since), ledgers)
    return ledgers


async def add_history(
    session: AsyncSession, after: Place, last_id: str, until: datetime, limit: int, ledgers: dict[str, Ledger]
) -> Place | None:
    """Add a slice of the transfers before a time, from a place on, of workspaces up to an id; answers where it ends, None at the end."""
    part = and_(after < _KEY, _transfer.c.workspace_id <= last_id, _transfer.c.create_time < until)
    end = select(*_KEY_COLUMNS).where(part).order_by(*_KEY_COLUMNS).offset(limit - 1).limit(1)
    found = (await (await session.connection()).execute(end)).first()
    place = None if found is None else (found[0], found[1], found[2])
    await _add_up(session, part if place is None else and_(part, place >= _KEY), ledgers)
    return place
