"""The ledger of some locked wallets in memory: requests are applied in order, what they do is written at once.

Sixty-four reserves cost as many statements as one. Nothing is decided by the database but that nobody was faster.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from services.billing import domain
from services.billing.domain import Account, Entry, Funds, HoldState, Totals
from services.billing.plans import Plans
from services.billing.store import accounts, ledger, wallets
from services.billing.store.ledger import Position, Writing
from services.billing.store.tables import Hold, outbox
from services.billing.usecases.billing import Billing
from services.mesh import fault
from services.mesh.errors import InvalidField
from services.mesh.outbox import publish_later
from services.mesh.streams import event_subject
from steno.billing.v1.billing_events_pb2 import CreditExhausted
from steno.billing.v1.workspace_pb2 import Plan

EXHAUSTION_INTERVAL = timedelta(hours=1)


@dataclass
class Page:
    """One wallet's part of the book. upload_count: of this month, counted only where the plan has a limit."""

    position: Position
    plan: Plan
    included_ms: int
    accounts: dict[Account, Totals]
    period: str
    upload_count: int = 0
    priced_overage_ms: int = 0
    entries: list[Entry] = field(default_factory=list)

    @property
    def funds(self) -> Funds:
        """What can be spent now."""
        plan, credit = self.accounts[Account.PLAN], self.accounts[Account.CREDIT]
        return Funds(plan.available_ms, credit.available_ms, self.plan.overage_limit_ms)

    @property
    def exhaustion_is_news(self) -> bool:
        """Whether the mesh was not told for a while that credit ran out."""
        told = self.position.exhausted_time
        return told is None or told <= self.position.now - EXHAUSTION_INTERVAL

    def enter(self, entries: Sequence[Entry]) -> None:
        """Apply transfers of this wallet."""
        self.entries.extend(entries)
        for account, change in domain.total_changes(entries).items():
            self.accounts[account] += change

    def begin_month(self) -> bool:
        """Grant the month's credit unless that was done; says whether it was due."""
        now = domain.period_of(self.position.now)
        if now <= self.period:
            return False
        if self.plan.overage_cents_per_minute:
            self.priced_overage_ms = domain.used_beyond_ms(self.position.used_ms, self.accounts)
        wallet_id, past, self.period = self.position.workspace_id, self.period, now
        self.enter(domain.month_entries(wallet_id, past, now, self.funds, self.included_ms, self.priced_overage_ms))
        return True

    def check_uploads(self) -> None:
        """Raises UploadLimitExceeded unless the plan allows one more."""
        limit = self.plan.monthly_uploads
        if limit and self.upload_count >= limit:
            raise domain.UploadLimitExceeded(monthly_uploads=str(limit), upload_count=str(self.upload_count))


@dataclass(frozen=True)
class Held:
    """A hold, and the plan of the wallet that it is on."""

    hold: Hold
    plan: Plan


@dataclass
class Book:
    """Pages, the holds of the jobs in question, and what became of them. tenants: of wallets that have holds but no page here."""

    pages: dict[str, Page]
    holds: dict[str, Hold]
    legs: dict[str, list[Entry]]
    tenants: Mapping[str, str] = field(default_factory=dict)
    new_holds: list[Hold] = field(default_factory=list)
    renewed_holds: list[Hold] = field(default_factory=list)
    ended_holds: list[Hold] = field(default_factory=list)
    new_months: list[Page] = field(default_factory=list)
    exhausted: dict[str, domain.NoCredits] = field(default_factory=dict)

    def page(self, wallet_id: str) -> Page:
        """The page of a wallet, in the month that it is. Raises WorkspaceNotFound."""
        page = self.pages.get(wallet_id)
        if page is None:
            raise domain.WorkspaceNotFound(workspace_id=wallet_id)
        if page.begin_month():
            self.new_months.append(page)
        return page

    def reserve(self, wallet_id: str, job_id: str, amount_ms: int, ttl: timedelta | None = None) -> Held:
        """Hold credit for a job, or answer its first hold, be it on another wallet of the tenant: a guest's job may be claimed meanwhile.

        ttl: how long the hold stands from now on, if not as long as a job.
        Raises NoCredits, UploadLimitExceeded, WorkspaceNotFound, InvalidField.
        """
        page, first = self.page(wallet_id), self.holds.get(job_id)
        if first is not None:
            if self._tenant_of(first.workspace_id) != page.position.tenant_id:
                raise InvalidField("The job is another workspace's.", field="job_id")
            return Held(self._renewed(page, first, ttl), page.plan)
        page.check_uploads()
        legs = self._legs(page, job_id, amount_ms)
        page.enter(legs)
        hold = _new_hold(page.position, job_id, amount_ms, ttl)
        page.upload_count += 1
        self.new_holds.append(hold)
        self.holds[job_id], self.legs[job_id] = hold, legs
        fault.point("billing.reserve.before_commit")
        return Held(hold, page.plan)

    def _legs(self, page: Page, job_id: str, amount_ms: int) -> list[Entry]:
        """The legs of a hold; that credit ran out is told to the mesh, at most once an hour. Raises NoCredits."""
        wallet_id = page.position.workspace_id
        try:
            return domain.hold_entries(wallet_id, job_id, amount_ms, page.funds)
        except domain.NoCredits as refusal:
            if page.exhaustion_is_news:
                self.exhausted.setdefault(wallet_id, refusal)
            raise

    def _renewed(self, page: Page, hold: Hold, ttl: timedelta | None) -> Hold:
        if ttl is None or hold.expire_time is None or hold.state != HoldState.OPEN:
            return hold
        renewed = hold.model_copy(update={"expire_time": max(hold.expire_time, page.position.now + ttl)})
        self.holds[hold.job_id] = renewed
        self.renewed_holds.append(renewed)
        fault.point("billing.renew.before_commit")
        return renewed

    def end(self, workspace_id: str, job_id: str, billable_ms: int, *, withdraw: bool = False) -> Held:
        """Charge a hold, or give it back for 0; what is billed beyond the hold is charged as far as credit goes.

        A workspace sees the holds of its wallets only; an empty one all. withdraw: the submit was not accepted after all.
        Raises HoldNotFound, HoldAlreadySettled, HoldAlreadyReleased.
        """
        hold = self.holds.get(job_id)
        if hold is None or not self._belongs(hold, workspace_id):
            raise domain.HoldNotFound(job_id=job_id)
        page = self.page(hold.workspace_id)
        if hold.state != HoldState.OPEN:
            return Held(_ended(hold, billable_ms), page.plan)
        legs = self.legs[job_id]
        extra_ms = domain.top_up_ms(billable_ms, hold.amount_ms, page.funds)
        extra = domain.hold_entries(hold.workspace_id, job_id, extra_ms, page.funds, first_leg=len(legs) + 1)
        settled_ms = min(billable_ms, hold.amount_ms + extra_ms)
        page.enter([*extra, *domain.ending_entries([*legs, *extra], settled_ms)])
        if withdraw and hold.upload_period == page.period:
            page.upload_count -= 1
        changes = {"state": _asked(settled_ms).value, "settled_ms": settled_ms, "end_time": page.position.now}
        self.holds[job_id] = ended = hold.model_copy(update=changes | ({"upload_period": None} if withdraw else {}))
        self.ended_holds.append(ended)
        fault.point("billing.end.before_commit")
        return Held(ended, page.plan)

    def _tenant_of(self, wallet_id: str) -> str:
        page = self.pages.get(wallet_id)
        return page.position.tenant_id if page is not None else self.tenants.get(wallet_id, "")

    def _belongs(self, hold: Hold, workspace_id: str) -> bool:
        # A hold taken while this book was opened is not in it yet.
        page = self.pages.get(hold.workspace_id)
        return page is not None and workspace_id in ("", hold.workspace_id, page.position.tenant_id)


def _new_hold(position: Position, job_id: str, amount_ms: int, ttl: timedelta | None) -> Hold:
    return Hold(
        job_id=job_id,
        workspace_id=position.workspace_id,
        upload_period=domain.period_of(position.now),
        amount_ms=amount_ms,
        state=HoldState.OPEN.value,
        create_time=position.now,
        expire_time=None if ttl is None else position.now + ttl,
    )


def _asked(billable_ms: int) -> HoldState:
    return HoldState.SETTLED if billable_ms else HoldState.RELEASED


def _ended(hold: Hold, billable_ms: int) -> Hold:
    if hold.state == _asked(billable_ms):
        return hold
    if hold.state == HoldState.SETTLED:
        raise domain.HoldAlreadySettled(job_id=hold.job_id)
    raise domain.HoldAlreadyReleased(job_id=hold.job_id)


def _page(position: Position, plans: Plans) -> Page:
    included_ms = plans.included_ms(position.plan, anonymous=position.anonymous)
    return Page(position, plans.get(position.plan), included_ms, dict(position.accounts), position.period)


async def open_book(billing: Billing, session: AsyncSession, wallet_ids: set[str], job_ids: set[str], ending_ids: set[str]) -> Book:
    """The book of these wallets and jobs, and of the wallets whose holds are to end; all locked."""
    if ending_ids:
        wallet_ids = wallet_ids | set(await ledger.find_hold_workspaces(session, sorted(ending_ids)))
    positions = await ledger.lock_positions(session, sorted(wallet_ids), billing.clock)
    pages = {key: _page(position, billing.plans) for key, position in positions.items()}
    # Only after the lock: what was read before it may have changed while waiting.
    holds = await ledger.find_holds(session, sorted(job_ids | ending_ids)) if job_ids | ending_ids else {}
    legs = await ledger.read_legs(session, sorted(ending_ids)) if ending_ids else {}
    if job_ids:
        await _count_uploads(session, pages)
    elsewhere = {hold.workspace_id for hold in holds.values()} - pages.keys()
    tenants = await wallets.read_tenants(session, sorted(elsewhere)) if elsewhere else {}
    return Book(pages, holds, legs, tenants)


async def _count_uploads(session: AsyncSession, pages: Mapping[str, Page]) -> None:
    limited = {wallet_id: page for wallet_id, page in pages.items() if page.plan.monthly_uploads}
    if limited:
        # One statement told every page the time.
        period = domain.period_of(next(iter(limited.values())).position.now)
        for wallet_id, count in (await ledger.count_uploads(session, sorted(limited), period)).items():
            limited[wallet_id].upload_count = count


async def write_book(session: AsyncSession, book: Book) -> None:
    """Write everything that was entered. Raises IntegrityError, ServiceUnavailable."""
    for page in book.new_months:
        await ledger.begin_period(session, page.position, domain.period_of(page.position.now), page.priced_overage_ms)
    pages = book.pages.items()
    writings = [Writing(key, page.position.now, page.plan.overage_limit_ms, page.entries) for key, page in pages]
    await ledger.write_entries(session, writings)
    fault.point("billing.book.after_transfers")
    await ledger.add_holds(session, book.new_holds)
    await ledger.renew_holds(session, book.renewed_holds)
    await ledger.end_holds(session, book.ended_holds)
    fault.point("billing.book.after_holds")
    for wallet_id, refusal in book.exhausted.items():
        await _tell_exhaustion(session, book.pages[wallet_id].position, refusal)


async def _tell_exhaustion(session: AsyncSession, position: Position, refusal: domain.NoCredits) -> None:
    event = CreditExhausted(
        workspace_id=position.tenant_id,
        wallet_id=position.workspace_id,
        available_ms=int(refusal.metadata["available_ms"]),
        required_ms=int(refusal.metadata["required_ms"]),
    )
    await accounts.note_exhaustion(session, position.workspace_id, position.now)
    await publish_later(session, outbox, event_subject("billing", CreditExhausted), event)
    fault.point("billing.exhaustion.before_commit")
