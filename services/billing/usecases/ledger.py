"""Reserving, charging, giving back and adding credit; every change is idempotent by its deterministic transfer ids."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from services.billing import domain
from services.billing.domain import Account, Entry
from services.billing.store import accounts, ledger
from services.billing.store.ledger import Position
from services.billing.store.tables import Hold, Transfer, outbox
from services.billing.usecases.batches import Batches, End, Reserve
from services.billing.usecases.billing import Billing
from services.billing.usecases.book import open_book, write_book
from services.mesh.database import retried
from services.mesh.outbox import publish_later
from services.mesh.streams import event_subject
from services.mesh.telemetry import get_logger
from steno.billing.v1.billing_events_pb2 import CreditExhausted
from steno.billing.v1.ledger_pb2 import Balance

EXHAUSTION_INTERVAL = timedelta(hours=1)
_logger = get_logger("billing.ledger")


async def reserve(billing: Billing, batches: Batches, workspace_id: str, job_id: str, amount_ms: int) -> Hold:
    """Hold credit for a job; again, answers the first hold. Raises NoCredits, WorkspaceNotFound, InvalidField."""
    try:
        return await batches.submit(Reserve(workspace_id, job_id, amount_ms))
    except domain.NoCredits as refusal:
        await _tell_exhaustion(billing, refusal)
        raise


async def _tell_exhaustion(billing: Billing, refusal: domain.NoCredits) -> None:
    """Tell the mesh that credit ran out, at most once an hour; refusals that change nothing take no write lock."""
    workspace_id = refusal.metadata["workspace_id"]
    async with billing.database.reading() as session:
        position = await ledger.read_position(session, workspace_id, billing.clock)
    since = position.now - EXHAUSTION_INTERVAL
    if position.exhausted_time is not None and position.exhausted_time > since:
        return
    event = CreditExhausted(
        workspace_id=workspace_id,
        available_ms=int(refusal.metadata["available_ms"]),
        required_ms=int(refusal.metadata["required_ms"]),
    )
    async with billing.database.transaction() as session:
        if await accounts.note_exhaustion(session, workspace_id, position.now, since):
            await publish_later(session, outbox, event_subject("billing", CreditExhausted), event)
    billing.wake_relay()


async def settle(batches: Batches, job_id: str, billable_ms: int, workspace_id: str = "") -> Hold:
    """Charge the hold of a job, 0 gives it back; again, answers what the first time did.

    A workspace, if given, sees its own holds only. More than the hold is charged as far as credit goes.
    Raises HoldNotFound, HoldAlreadyReleased, and HoldAlreadySettled when 0 comes after a charge.
    """
    return await batches.submit(End(workspace_id, job_id, billable_ms))


async def release(batches: Batches, job_id: str, workspace_id: str = "") -> Hold:
    """Give the hold of a job back whole; again, answers the same. Raises HoldNotFound, HoldAlreadySettled."""
    return await settle(batches, job_id, 0, workspace_id)


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
        used_ms=usage.credits_posted - position.used_before_ms,
        granted_ms=source.debits_posted - position.granted_before_ms,
    )


async def get_balance(billing: Billing, workspace_id: str) -> Balance:
    """The balance, in the month that it is. Raises WorkspaceNotFound."""
    async with billing.database.reading() as session:
        position = await ledger.read_position(session, workspace_id, billing.clock)
    if domain.period_of(position.now) > position.period:
        return await retried(lambda: _enter(billing, workspace_id, None))
    return _balance(position)


async def grant_credit(billing: Billing, workspace_id: str, amount_ms: int, reference: str) -> Balance:
    """Add credit that does not end with the month; the same reference never adds twice. Raises WorkspaceNotFound."""
    entry = domain.gift_entry(workspace_id, reference, amount_ms)
    return await retried(lambda: _enter(billing, workspace_id, entry))


async def _enter(billing: Billing, workspace_id: str, entry: Entry | None) -> Balance:
    """Begin the month if it is due, write the entry unless it was written, answer the balance after it."""
    async with billing.database.transaction() as session:
        book = await open_book(billing, session, {workspace_id}, set(), set())
        page = book.page(workspace_id)
        if entry is not None and not await ledger.transfer_exists(session, entry.id):
            page.enter([entry])
        await write_book(session, book)
        return _balance(await ledger.read_position(session, workspace_id, billing.clock))


async def list_open_holds(billing: Billing, before: datetime | None, after: tuple[datetime, str] | None, limit: int) -> Sequence[Hold]:
    """Open holds of every workspace, oldest first."""
    async with billing.database.reading() as session:
        return await ledger.list_open_holds(session, before, after, limit)


async def list_transfers(billing: Billing, workspace_id: str, after: tuple[datetime, str] | None, limit: int) -> Sequence[Transfer]:
    """Transfers of a workspace, newest first."""
    async with billing.database.reading() as session:
        return await ledger.list_transfers(session, workspace_id, after, limit)
