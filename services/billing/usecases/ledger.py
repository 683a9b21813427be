"""Reserving, charging, giving back and adding credit; every change is idempotent by its deterministic transfer ids."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from services.billing import domain
from services.billing.domain import Account, Entry
from services.billing.store import ledger
from services.billing.store.ledger import Position, Writing
from services.billing.store.tables import Hold, Transfer
from services.billing.usecases.batches import Batches, End, Reserve
from services.billing.usecases.billing import Billing
from services.billing.usecases.book import Held, open_book, write_book
from services.mesh import fault
from services.mesh.database import retried
from services.mesh.telemetry import get_logger
from steno.billing.v1.ledger_pb2 import Balance, Usage

_logger = get_logger("billing.ledger")


async def reserve(batches: Batches, wallet_id: str, job_id: str, amount_ms: int, ttl: timedelta | None = None) -> Held:
    """Hold credit for a job; again, answers the first hold, which a ttl renews.

    Raises NoCredits, UploadLimitExceeded, WorkspaceNotFound, InvalidField.
    """
    held = await batches.submit(Reserve(wallet_id, job_id, amount_ms, ttl))
    fault.point("billing.reserve.after_commit")
    return held


async def settle(batches: Batches, job_id: str, billable_ms: int, workspace_id: str = "") -> Hold:
    """Charge the hold of a job, 0 gives it back; again, answers what the first time did.

    A workspace, if given, sees the holds of its wallets only. More than the hold is charged as far as credit goes.
    Raises HoldNotFound, HoldAlreadyReleased, and HoldAlreadySettled when 0 comes after a charge.
    """
    held = await batches.submit(End(workspace_id, job_id, billable_ms))
    fault.point("billing.settle.after_commit")
    return held.hold


async def release(batches: Batches, job_id: str, workspace_id: str = "") -> Hold:
    """Give the hold of a job back whole and do not count its upload; again, answers the same.

    Raises HoldNotFound, HoldAlreadySettled.
    """
    held = await batches.submit(End(workspace_id, job_id, 0, withdraw=True))
    fault.point("billing.release.after_commit")
    return held.hold


async def end_job(batches: Batches, job_id: str, workspace_id: str, billable_ms: int) -> None:
    """Charge or give back the hold of a job that ended. Raises HoldNotFound.

    The same ending again changes nothing: that the hold ended is stored with its transfers. A hold that a direct call
    ended the other way stays as it is: the first ending counts, and the log says so.
    """
    try:
        await settle(batches, job_id, billable_ms, workspace_id)
    except (domain.HoldAlreadySettled, domain.HoldAlreadyReleased) as error:
        _logger.warning("hold ended otherwise before", job_id=job_id, billable_ms=billable_ms, reason=error.reason())


def _balance(position: Position) -> Balance:
    source, usage = position.accounts[Account.SOURCE], position.accounts[Account.USAGE]
    return Balance(
        available_ms=position.available_ms,
        held_ms=usage.credits_pending,
        used_ms=position.used_ms,
        granted_ms=source.debits_posted - position.granted_before_ms,
    )


async def get_balance(billing: Billing, wallet_id: str) -> Balance:
    """The balance, in the month that it is. Raises WorkspaceNotFound."""
    async with reading_month(billing, wallet_id) as (_, position):
        return _balance(position)


async def get_usage(billing: Billing, wallet_id: str) -> Usage:
    """What the month has used so far, from the ledger alone. Raises WorkspaceNotFound."""
    async with reading_month(billing, wallet_id) as (session, position):
        start, end = domain.period_bounds(position.period)
        included_ms = await ledger.sum_plan_grants(session, wallet_id, start)
        uploads = await ledger.count_uploads(session, [wallet_id], position.period)
    plan, used_ms = billing.plans.get(position.plan), position.used_ms
    overage_ms = domain.used_beyond_ms(used_ms, position.accounts)
    usage = Usage(
        included_ms=included_ms,
        used_ms=used_ms,
        remaining_ms=domain.remaining_ms(used_ms, included_ms, position.accounts),
        overage_ms=overage_ms,
        overage_cents=domain.overage_cents(overage_ms, plan.overage_cents_per_minute),
        upload_count=uploads.get(wallet_id, 0),
        plan=plan,
    )
    usage.start_time.FromDatetime(start)
    usage.end_time.FromDatetime(end)
    return usage


@asynccontextmanager
async def reading_month(billing: Billing, wallet_id: str) -> AsyncIterator[tuple[AsyncSession, Position]]:
    """A snapshot and the wallet's position in it, in the month that it is. Raises WorkspaceNotFound."""
    async with billing.database.reading() as session:
        position = await ledger.read_position(session, wallet_id, billing.clock)
        if domain.period_of(position.now) <= position.period:
            yield session, position
            return
    await retried(lambda: _begin_month(billing, wallet_id))
    async with billing.database.reading() as session:
        yield session, await ledger.read_position(session, wallet_id, billing.clock)


async def _begin_month(billing: Billing, wallet_id: str) -> None:
    async with billing.database.transaction() as session:
        await begin_month(billing, session, wallet_id)
        fault.point("billing.month.before_commit")


async def begin_month(billing: Billing, session: AsyncSession, wallet_id: str) -> Position:
    """Lock a wallet and begin its month if that is due; answers where it then stands. Raises WorkspaceNotFound."""
    book = await open_book(billing, session, {wallet_id}, set(), set())
    book.page(wallet_id)
    await write_book(session, book)
    return await ledger.read_position(session, wallet_id, billing.clock)


async def add_credit(billing: Billing, session: AsyncSession, entry: Entry) -> Position:
    """Write a grant unless it was written; answers where its wallet then stands. Raises WorkspaceNotFound."""
    position = await begin_month(billing, session, entry.workspace_id)
    if not await ledger.transfer_exists(session, entry.id):
        overage_limit_ms = billing.plans.get(position.plan).overage_limit_ms
        await ledger.write_entries(session, [Writing(entry.workspace_id, position.now, overage_limit_ms, [entry])])
    return await ledger.read_position(session, entry.workspace_id, billing.clock)


async def grant_credit(billing: Billing, wallet_id: str, amount_ms: int, reference: str) -> Balance:
    """Add credit that does not end with the month; the same reference never adds twice. Raises WorkspaceNotFound."""

    async def grant() -> Balance:
        async with billing.database.transaction() as session:
            balance = _balance(await add_credit(billing, session, domain.gift_entry(wallet_id, reference, amount_ms)))
            fault.point("billing.grant.before_commit")
        fault.point("billing.grant.after_commit")
        return balance

    return await retried(grant)


async def list_open_holds(billing: Billing, before: datetime | None, after: tuple[datetime, str] | None, limit: int) -> Sequence[Hold]:
    """Open holds of every workspace, oldest first."""
    async with billing.database.reading() as session:
        return await ledger.list_open_holds(session, before, after, limit)


async def list_transfers(billing: Billing, wallet_id: str, after: tuple[datetime, str] | None, limit: int) -> Sequence[Transfer]:
    """Transfers of a wallet, newest first."""
    async with billing.database.reading() as session:
        return await ledger.list_transfers(session, wallet_id, after, limit)
