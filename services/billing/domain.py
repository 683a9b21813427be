"""The rules of credit and keys, on plain values.

A workspace has four accounts. `plan` holds its monthly credit, which ends with the month; `credit` holds what the
operator added, which does not end, and alone may go below zero; `source` is where grants come from and expired credit
returns to; `usage` receives what was spent. None is shared between workspaces, so no row is hot for all of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from services.mesh.errors import FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted

UNLIMITED_MS = 2**53 - 1
"""An overage that no audio reaches; the largest integer that every JSON reader keeps exact."""


class ApiKeyNotFound(NotFound):
    """No key of this workspace has this id."""


class WorkspaceNotFound(NotFound):
    """No workspace has this id."""


class UnknownPlan(InvalidArgument):
    """The plans file has no plan of this name."""


class NoCredits(ResourceExhausted):
    """The balance does not cover the hold."""


class HoldNotFound(NotFound):
    """No hold was taken for this job."""


class HoldAlreadySettled(FailedPrecondition):
    """The hold was charged before."""


class HoldAlreadyReleased(FailedPrecondition):
    """The hold was given back before."""


class Account(StrEnum):
    """The four accounts of a workspace."""

    PLAN = "plan"
    CREDIT = "credit"
    SOURCE = "source"
    USAGE = "usage"

    def of(self, workspace_id: str) -> str:
        """The id of this account."""
        return f"{self.value}:{workspace_id}"


class EntryKind(StrEnum):
    """What moves credit; the proto's Transfer.Kind without its prefix."""

    GRANT = "GRANT"
    HOLD = "HOLD"
    SETTLEMENT = "SETTLEMENT"
    RELEASE = "RELEASE"
    EXPIRY = "EXPIRY"


class HoldState(StrEnum):
    """Where a hold stands; the proto's Hold.State without its prefix."""

    OPEN = "OPEN"
    SETTLED = "SETTLED"
    RELEASED = "RELEASED"


@dataclass(frozen=True)
class Totals:
    """The four running totals of one account, in milliseconds; also a change of them."""

    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0

    @property
    def available_ms(self) -> int:
        """What can be spent: what came in for good, less what went out or is promised."""
        return self.credits_posted - self.debits_posted - self.debits_pending

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.debits_pending + other.debits_pending,
            self.debits_posted + other.debits_posted,
            self.credits_pending + other.credits_pending,
            self.credits_posted + other.credits_posted,
        )


@dataclass(frozen=True)
class Funds:
    """What a workspace can spend, by bucket, in milliseconds."""

    plan_ms: int
    credit_ms: int
    overage_limit_ms: int

    @property
    def available_ms(self) -> int:
        """The balance that callers see."""
        return self.plan_ms + self.credit_ms

    @property
    def spendable_ms(self) -> int:
        """The largest hold that is not refused."""
        return max(0, self.available_ms + self.overage_limit_ms)


@dataclass(frozen=True)
class Entry:
    """A transfer to write. One that ends a hold names it in `pending_id` and its amount in `pending_ms`."""

    id: str
    workspace_id: str
    kind: EntryKind
    debit: Account
    credit: Account
    amount_ms: int
    job_id: str = ""
    pending_id: str | None = None
    pending_ms: int = 0

    def changes(self) -> tuple[Totals, Totals]:
        """What it does to its debit and to its credit account."""
        if self.kind is EntryKind.HOLD:
            return Totals(debits_pending=self.amount_ms), Totals(credits_pending=self.amount_ms)
        posted = 0 if self.kind is EntryKind.RELEASE else self.amount_ms
        return (
            Totals(debits_pending=-self.pending_ms, debits_posted=posted),
            Totals(credits_pending=-self.pending_ms, credits_posted=posted),
        )


def total_changes(entries: Iterable[Entry]) -> dict[Account, Totals]:
    """What the entries do together to each account of their workspace."""
    changes: dict[Account, Totals] = {}
    for entry in entries:
        debit, credit = entry.changes()
        changes[entry.debit] = changes.get(entry.debit, Totals()) + debit
        changes[entry.credit] = changes.get(entry.credit, Totals()) + credit
    return changes


def _leg_id(kind: EntryKind, job_id: str, number: int) -> str:
    return f"{kind.value.lower()}:{job_id}" if number == 1 else f"{kind.value.lower()}:{job_id}:{number}"


def hold_entries(workspace_id: str, job_id: str, amount_ms: int, funds: Funds, first_leg: int = 1) -> list[Entry]:
    """The legs of a hold: plan credit first, because it ends with the month, then the rest. Raises NoCredits."""
    if amount_ms > funds.spendable_ms:
        raise NoCredits(workspace_id=workspace_id, available_ms=str(funds.available_ms), required_ms=str(amount_ms))
    from_plan = min(amount_ms, funds.plan_ms)
    legs = [(Account.PLAN, from_plan), (Account.CREDIT, amount_ms - from_plan)]
    return [
        Entry(
            _leg_id(EntryKind.HOLD, job_id, number),
            workspace_id,
            EntryKind.HOLD,
            account,
            Account.USAGE,
            leg_ms,
            job_id,
        )
        for number, (account, leg_ms) in enumerate(((a, ms) for a, ms in legs if ms > 0), first_leg)
    ]


def top_up_ms(billable_ms: int, held_ms: int, funds: Funds) -> int:
    """How much to hold beyond the first hold, so that a job longer than announced is charged as far as credit goes."""
    return min(max(0, billable_ms - held_ms), funds.spendable_ms)


def _ending(hold: Entry, number: int, charged_ms: int) -> Entry:
    kind = EntryKind.SETTLEMENT if charged_ms else EntryKind.RELEASE
    return replace(
        hold,
        id=_leg_id(kind, hold.job_id, number),
        kind=kind,
        amount_ms=charged_ms or hold.amount_ms,
        pending_id=hold.id,
        pending_ms=hold.amount_ms,
    )


def ending_entries(legs: Sequence[Entry], charge_ms: int) -> Iterator[Entry]:
    """Ends every leg of a hold, in order, until the charge is covered; what is left of a leg goes back with it."""
    for number, leg in enumerate(legs, 1):
        charged_ms = min(charge_ms, leg.amount_ms)
        charge_ms -= charged_ms
        yield _ending(leg, number, charged_ms)


def period_of(now: datetime) -> str:
    """The calendar month in UTC, as yyyy-mm."""
    return now.astimezone(UTC).strftime("%Y-%m")


def grant_entry(workspace_id: str, period: str, amount_ms: int) -> Entry:
    """The plan's credit of one month."""
    name = f"grant:{workspace_id}:{period}"
    return Entry(name, workspace_id, EntryKind.GRANT, Account.SOURCE, Account.PLAN, amount_ms)


def gift_entry(workspace_id: str, reference: str, amount_ms: int) -> Entry:
    """Credit by the operator's hand; it does not end with the month."""
    name = f"credit:{workspace_id}:{reference}"
    return Entry(name, workspace_id, EntryKind.GRANT, Account.SOURCE, Account.CREDIT, amount_ms)


def month_entries(workspace_id: str, past: str, period: str, funds: Funds, included_ms: int) -> list[Entry]:
    """Ends the plan credit of the past month and grants the new one's.

    Open holds keep what they hold. Debt left on the credit account is first covered by what the plan has left over.
    Months in which nothing happened granted and ended the same amount, so they are not written.
    """
    name = f"expiry:{workspace_id}:{past}"
    unspent_ms = min(funds.plan_ms, funds.available_ms)
    expiry = Entry(name, workspace_id, EntryKind.EXPIRY, Account.PLAN, Account.SOURCE, unspent_ms)
    return [entry for entry in (expiry, grant_entry(workspace_id, period, included_ms)) if entry.amount_ms > 0]
