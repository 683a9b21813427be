"""The ledger of some locked workspaces in memory: requests are applied in order, what they do is written at once.

Sixty-four reserves cost as many statements as one. Nothing is decided by the database but that nobody was faster.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlmodel.ext.asyncio.session import AsyncSession

from services.billing import domain
from services.billing.domain import Account, Entry, Funds, HoldState, Totals
from services.billing.plans import Plans
from services.billing.store import ledger
from services.billing.store.ledger import Position, Writing
from services.billing.store.tables import Hold
from services.billing.usecases.billing import Billing
from services.mesh.errors import InvalidField
from steno.billing.v1.workspace_pb2 import Plan


@dataclass
class Page:
    """One workspace's part of the book."""

    position: Position
    plan: Plan
    accounts: dict[Account, Totals]
    period: str
    entries: list[Entry] = field(default_factory=list)

    @property
    def funds(self) -> Funds:
        """What can be spent now."""
        plan, credit = self.accounts[Account.PLAN], self.accounts[Account.CREDIT]
        return Funds(plan.available_ms, credit.available_ms, self.plan.overage_limit_ms)

    def enter(self, entries: Sequence[Entry]) -> None:
        """Apply transfers of this workspace."""
        self.entries.extend(entries)
        for account, change in domain.total_changes(entries).items():
            self.accounts[account] += change

    def begin_month(self) -> bool:
        """Grant the month's credit unless that was done; says whether it was due."""
        now = domain.period_of(self.position.now)
        if now <= self.period:
            return False
        workspace_id, past, self.period = self.position.workspace_id, self.period, now
        self.enter(domain.month_entries(workspace_id, past, now, self.funds, self.plan.included_ms))
        return True


@dataclass
class Book:
    """Pages, the holds of the jobs in question, and what became of them."""

    pages: dict[str, Page]
    holds: dict[str, Hold]
    legs: dict[str, list[Entry]]
    new_holds: list[Hold] = field(default_factory=list)
    ended_holds: list[Hold] = field(default_factory=list)
    new_months: list[Position] = field(default_factory=list)

    def page(self, workspace_id: str) -> Page:
        """The page of a workspace, in the month that it is. Raises WorkspaceNotFound."""
        page = self.pages.get(workspace_id)
        if page is None:
            raise domain.WorkspaceNotFound(workspace_id=workspace_id)
        if page.begin_month():
            self.new_months.append(page.position)
        return page

    def reserve(self, workspace_id: str, job_id: str, amount_ms: int) -> Hold:
        """Hold credit for a job, or answer its first hold. Raises NoCredits, WorkspaceNotFound, InvalidField."""
        page, first = self.page(workspace_id), self.holds.get(job_id)
        if first is not None:
            if first.workspace_id != workspace_id:
                raise InvalidField("The job is another workspace's.", field="job_id")
            return first
        legs = domain.hold_entries(workspace_id, job_id, amount_ms, page.funds)
        page.enter(legs)
        open_state, now = HoldState.OPEN.value, page.position.now
        hold = Hold(job_id=job_id, workspace_id=workspace_id, amount_ms=amount_ms, state=open_state, create_time=now)
        self.new_holds.append(hold)
        self.holds[job_id], self.legs[job_id] = hold, legs
        return hold

    def end(self, workspace_id: str, job_id: str, billable_ms: int) -> Hold:
        """Charge a hold, or give it back for 0; what is billed beyond the hold is charged as far as credit goes.

        A workspace sees its own holds only; an empty one all. Raises HoldNotFound, HoldAlreadySettled, HoldAlreadyReleased.
        """
        hold = self.holds.get(job_id)
        if hold is None or workspace_id not in ("", hold.workspace_id):
            raise domain.HoldNotFound(job_id=job_id)
        if hold.state != HoldState.OPEN:
            return _ended(hold, billable_ms)
        page, legs = self.page(hold.workspace_id), self.legs[job_id]
        extra_ms = domain.top_up_ms(billable_ms, hold.amount_ms, page.funds)
        extra = domain.hold_entries(hold.workspace_id, job_id, extra_ms, page.funds, first_leg=len(legs) + 1)
        settled_ms = min(billable_ms, hold.amount_ms + extra_ms)
        page.enter([*extra, *domain.ending_entries([*legs, *extra], settled_ms)])
        state = HoldState.SETTLED if settled_ms else HoldState.RELEASED
        changes = {"state": state.value, "settled_ms": settled_ms, "end_time": page.position.now}
        self.holds[job_id] = ended = hold.model_copy(update=changes)
        self.ended_holds.append(ended)
        return ended


def _ended(hold: Hold, billable_ms: int) -> Hold:
    asked = HoldState.SETTLED if billable_ms else HoldState.RELEASED
    if hold.state == asked:
        return hold
    if hold.state == HoldState.SETTLED:
        raise domain.HoldAlreadySettled(job_id=hold.job_id)
    raise domain.HoldAlreadyReleased(job_id=hold.job_id)


def _page(position: Position, plans: Plans) -> Page:
    return Page(position, plans.get(position.plan), dict(position.accounts), position.period)


async def open_book(billing: Billing, session: AsyncSession, workspace_ids: set[str], job_ids: set[str], ending_ids: set[str]) -> Book:
    """The book of these workspaces and jobs, and of the workspaces whose holds are to end; all locked."""
    if ending_ids:
        workspace_ids = workspace_ids | set(await ledger.find_hold_workspaces(session, sorted(ending_ids)))
    positions = await ledger.lock_positions(session, sorted(workspace_ids), billing.clock)
    # Only after the lock: what was read before it may have changed while waiting.
    holds = await ledger.find_holds(session, sorted(job_ids | ending_ids)) if job_ids | ending_ids else {}
    legs = await ledger.read_legs(session, sorted(ending_ids)) if ending_ids else {}
    return Book({key: _page(position, billing.plans) for key, position in positions.items()}, holds, legs)


async def write_book(session: AsyncSession, book: Book) -> None:
    """Write everything that was entered. Raises IntegrityError, ServiceUnavailable."""
    for position in book.new_months:
        await ledger.begin_period(session, position, domain.period_of(position.now))
    pages = book.pages.items()
    writings = [Writing(key, page.position.now, page.plan.overage_limit_ms, page.entries) for key, page in pages]
    await ledger.write_entries(session, writings)
    await ledger.add_holds(session, book.new_holds)
    await ledger.end_holds(session, book.ended_holds)
