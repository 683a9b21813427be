"""The ledger's statements. Every change of an account goes through `write_entries`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Row, Select, bindparam, func, insert, literal_column, select, tuple_, update
from sqlmodel import col
from sqlmodel import select as select_models
from sqlmodel.ext.asyncio.session import AsyncSession

from services.billing.domain import (
    Account,
    Entry,
    EntryKind,
    HoldState,
    Totals,
    WorkspaceNotFound,
    total_changes,
)
from services.billing.store import tables
from services.billing.store.tables import Hold, Transfer, Workspace
from services.mesh.columns import UtcDateTime, table_of
from services.mesh.errors import ServiceUnavailable

_workspace, _account = table_of(Workspace), table_of(tables.Account)
_transfer, _hold = table_of(Transfer), table_of(Hold)
_TOTALS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
_OF_WALLET = ("id", "parent_id", "guest_digest", "plan", "period", "used_before_ms", "granted_before_ms", "exhausted_time")
_POSITION = [*(_workspace.c[name] for name in _OF_WALLET), _account.c.kind, *(_account.c[name] for name in _TOTALS)]
_NO_FLOOR = 2**62


@dataclass(frozen=True)
class Position:
    """A wallet's accounts and month as one statement saw them. anonymous: whether it is a buyer's, opened by a token."""

    workspace_id: str
    tenant_id: str
    anonymous: bool
    plan: str
    period: str
    used_before_ms: int
    granted_before_ms: int
    exhausted_time: datetime | None
    now: datetime
    accounts: Mapping[Account, Totals]

    @property
    def available_ms(self) -> int:
        """The balance that callers see."""
        return self.accounts[Account.PLAN].available_ms + self.accounts[Account.CREDIT].available_ms

    @property
    def used_ms(self) -> int:
        """Spent in the month."""
        return self.accounts[Account.USAGE].credits_posted - self.used_before_ms


def _totals(row: Row[*tuple[Any, ...]]) -> Totals:
    return Totals(row.debits_pending, row.debits_posted, row.credits_pending, row.credits_posted)


def _positions(workspace_ids: Sequence[str], clock: ColumnElement[datetime]) -> Select[*tuple[Any, ...]]:
    return (
        select(*_POSITION, clock.label("now"))
        .join(_account, _account.c.workspace_id == _workspace.c.id)
        .where(_workspace.c.id.in_(workspace_ids))
        .order_by(_account.c.id)
    )


def _grouped(rows: Sequence[Row[*tuple[Any, ...]]]) -> dict[str, Position]:
    accounts: dict[str, dict[Account, Totals]] = {}
    for row in rows:
        accounts.setdefault(row.id, {})[Account(row.kind)] = _totals(row)
    return {row.id: _position(row, accounts[row.id]) for row in rows}


def _position(row: Row[*tuple[Any, ...]], accounts: Mapping[Account, Totals]) -> Position:
    return Position(
        workspace_id=row.id,
        tenant_id=row.parent_id or row.id,
        anonymous=row.guest_digest is not None,
        plan=row.plan,
        period=row.period,
        used_before_ms=row.used_before_ms,
        granted_before_ms=row.granted_before_ms,
        exhausted_time=row.exhausted_time,
        now=row.now,
        accounts=accounts,
    )


async def lock_positions(session: AsyncSession, workspace_ids: Sequence[str], clock: ColumnElement[datetime]) -> dict[str, Position]:
    """Positions of those workspaces that exist; nobody else changes them before the transaction ends.

    Rows are locked in the order of account ids, everywhere, so that transactions never wait for each other in a ring;
    Postgres reads a row again that it had to wait for.
    """
    statement = _positions(workspace_ids, clock).with_for_update(key_share=True)
    return _grouped((await (await session.connection()).execute(statement)).all())


async def read_position(session: AsyncSession, workspace_id: str, clock: ColumnElement[datetime]) -> Position:
    """The position of a workspace. Raises WorkspaceNotFound."""
    rows = (await (await session.connection()).execute(_positions([workspace_id], clock))).all()
    if not rows:
        raise WorkspaceNotFound(workspace_id=workspace_id)
    return _grouped(rows)[workspace_id]


def _parameter(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger)


_CHANGE_ACCOUNT = (
    update(_account)
    .where(
        _account.c.id == bindparam("account"),
        _account.c.credits_posted
        + _parameter("by_credits_posted")
        - _account.c.debits_posted
        - _parameter("by_debits_posted")
        - _account.c.debits_pending
        - _parameter("by_debits_pending")
        >= -_parameter("below_zero"),
    )
    .values({name: _account.c[name] + _parameter(f"by_{name}") for name in _TOTALS})
)


@dataclass(frozen=True)
class Writing:
    """Transfers of one workspace to write at one time."""

    workspace_id: str
    now: datetime
    overage_limit_ms: int
    entries: Sequence[Entry]


def _changes(writing: Writing) -> Iterator[dict[str, Any]]:
    for account, change in total_changes(writing.entries).items():
        spends = change.available_ms < 0 and account in (Account.PLAN, Account.CREDIT)
        limit_ms = writing.overage_limit_ms if account is Account.CREDIT else 0
        yield {
            "account": account.of(writing.workspace_id),
            "below_zero": limit_ms if spends else _NO_FLOOR,
            **{f"by_{name}": getattr(change, name) for name in _TOTALS},
        }


def _row(entry: Entry, now: datetime) -> dict[str, Any]:
    return {
        "id": entry.id,
        "workspace_id": entry.workspace_id,
        "debit_account": entry.debit.of(entry.workspace_id),
        "credit_account": entry.credit.of(entry.workspace_id),
        "amount_ms": entry.amount_ms,
        "kind": entry.kind.value,
        "pending_id": entry.pending_id,
        "job_id": entry.job_id,
        "create_time": now,
    }


async def write_entries(session: AsyncSession, writings: Sequence[Writing]) -> None:
    """Write transfers and what they do to their accounts.

    The update itself refuses to spend what is not there, whatever was read before. Raises ServiceUnavailable.
    """
    rows = [_row(entry, writing.now) for writing in writings for entry in writing.entries]
    if not rows:
        return
    connection = await session.connection()
    changes = sorted((change for writing in writings for change in _changes(writing)), key=itemgetter("account"))
    changed = await connection.execute(_CHANGE_ACCOUNT, changes)
    if changed.rowcount != len(changes):
        raise ServiceUnavailable("The balance changed meanwhile.", outcome="rolled_back")
    await connection.execute(insert(_transfer), rows)


async def begin_period(session: AsyncSession, position: Position, period: str, overage_ms: int) -> None:
    """Note that the month's plan credit is granted, and what was spent and granted before it, its overage included."""
    await (await session.connection()).execute(
        update(_workspace)
        .where(_workspace.c.id == position.workspace_id)
        .values(
            period=period,
            used_before_ms=position.accounts[Account.USAGE].credits_posted,
            granted_before_ms=position.accounts[Account.SOURCE].debits_posted + overage_ms,
        )
    )


async def add_holds(session: AsyncSession, holds: Sequence[Hold]) -> None:
    """Store holds. Raises IntegrityError when a job has one."""
    if holds:
        await (await session.connection()).execute(insert(_hold), [hold.model_dump() for hold in holds])


_ENDING = ("state", "settled_ms", "end_time", "upload_period")
_END_HOLD = (
    update(_hold)
    .where(_hold.c.job_id == bindparam("job"), _hold.c.state == HoldState.OPEN.value)
    .values({name: bindparam(f"new_{name}", type_=_hold.c[name].type) for name in _ENDING})
)


async def end_holds(session: AsyncSession, holds: Sequence[Hold]) -> None:
    """Store how open holds ended. Raises ServiceUnavailable when one was not open."""
    if not holds:
        return
    rows = [{"job": hold.job_id, **{f"new_{name}": getattr(hold, name) for name in _ENDING}} for hold in holds]
    ended = await (await session.connection()).execute(_END_HOLD, rows)
    if ended.rowcount != len(rows):
        raise ServiceUnavailable("The hold was ended meanwhile.", outcome="rolled_back")


_RENEW_HOLD = (
    update(_hold)
    .where(_hold.c.job_id == bindparam("job"), _hold.c.state == HoldState.OPEN.value)
    .values(expire_time=bindparam("until", type_=UtcDateTime()))
)


async def renew_holds(session: AsyncSession, holds: Sequence[Hold]) -> None:
    """Store until when open holds stand."""
    if holds:
        await (await session.connection()).execute(_RENEW_HOLD, [{"job": hold.job_id, "until": hold.expire_time} for hold in holds])


async def find_hold_workspaces(session: AsyncSession, job_ids: Sequence[str]) -> list[str]:
    """The workspaces of those jobs that have holds."""
    statement = select(_hold.c.workspace_id).where(_hold.c.job_id.in_(job_ids)).distinct()
    return list((await (await session.connection()).execute(statement)).scalars())


async def count_uploads(session: AsyncSession, wallet_ids: Sequence[str], period: str) -> dict[str, int]:
    """Uploads of a month by wallet; those that have none are left out."""
    statement = (
        select(_hold.c.workspace_id, func.count())
        .where(_hold.c.workspace_id.in_(wallet_ids), _hold.c.upload_period == period)
        .group_by(_hold.c.workspace_id)
    )
    return {row[0]: row[1] for row in await (await session.connection()).execute(statement)}


_PLAN_GRANTS = (
    select(func.coalesce(func.sum(_transfer.c.amount_ms), 0))
    # Spelt out, not bound: with a parameter the partial index is not used.
    .where(literal_column("kind = 'GRANT'"), _transfer.c.credit_account == bindparam("account"))
    .where(_transfer.c.workspace_id == bindparam("wallet"), _transfer.c.create_time >= bindparam("since", type_=UtcDateTime()))
)


async def sum_plan_grants(session: AsyncSession, wallet_id: str, since: datetime) -> int:
    """What the plan granted a wallet since a time, in milliseconds."""
    values = {"account": Account.PLAN.of(wallet_id), "wallet": wallet_id, "since": since}
    return int((await (await session.connection()).execute(_PLAN_GRANTS, values)).scalar_one())


async def find_holds(session: AsyncSession, job_ids: Sequence[str]) -> dict[str, Hold]:
    """The holds of jobs, by job."""
    rows = await (await session.connection()).execute(select(_hold).where(_hold.c.job_id.in_(job_ids)))
    return {row.job_id: Hold(**row._mapping) for row in rows}


def _leg(row: Row[*tuple[Any, ...]]) -> Entry:
    account = Account(row.debit_account.partition(":")[0])
    return Entry(row.id, row.workspace_id, EntryKind.HOLD, account, Account.USAGE, row.amount_ms, row.job_id)


async def read_legs(session: AsyncSession, job_ids: Sequence[str]) -> dict[str, list[Entry]]:
    """The transfers that make up holds, by job, in the order they were taken."""
    columns = [_transfer.c[name] for name in ("id", "workspace_id", "debit_account", "amount_ms", "job_id")]
    of_holds = select(*columns).where(_transfer.c.job_id.in_(job_ids), _transfer.c.kind == EntryKind.HOLD.value)
    legs: dict[str, list[Entry]] = {}
    for row in await (await session.connection()).execute(of_holds.order_by(_transfer.c.id)):
        legs.setdefault(row.job_id, []).append(_leg(row))
    return legs


async def list_open_holds(session: AsyncSession, before: datetime | None, after: tuple[datetime, str] | None, limit: int) -> Sequence[Hold]:
    """Open holds of every workspace, oldest first, taken before a time and after a place in the list."""
    statement = select_models(Hold).where(col(Hold.state) == HoldState.OPEN.value)
    if before is not None:
        statement = statement.where(col(Hold.create_time) < before)
    if after is not None:
        statement = statement.where(tuple_(col(Hold.create_time), col(Hold.job_id)) > after)
    return (await session.exec(statement.order_by(col(Hold.create_time), col(Hold.job_id)).limit(limit))).all()


async def list_transfers(session: AsyncSession, workspace_id: str, after: tuple[datetime, str] | None, limit: int) -> Sequence[Transfer]:
    """Transfers of a workspace, newest first, after a place in the list."""
    statement = select_models(Transfer).where(col(Transfer.workspace_id) == workspace_id)
    if after is not None:
        statement = statement.where(tuple_(col(Transfer.create_time), col(Transfer.id)) < after)
    newest_first = (col(Transfer.create_time).desc(), col(Transfer.id).desc())
    return (await session.exec(statement.order_by(*newest_first).limit(limit))).all()


async def transfer_exists(session: AsyncSession, transfer_id: str) -> bool:
    """Whether the fact was written before."""
    statement = select(_transfer.c.id).where(_transfer.c.id == transfer_id)
    return (await (await session.connection()).execute(statement)).first() is not None
