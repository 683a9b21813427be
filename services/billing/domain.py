"""The rules of credit, keys and purchases, on plain values.

A wallet is a workspace's own, a user's or an anonymous buyer's; it has the id of its owner and four accounts. `plan` holds
its monthly credit, which ends with the month; `credit` holds what the operator or a purchase added, which does not end, and
alone may go below zero; `source` is where grants come from and expired credit returns to; `usage` receives what was spent.
None is shared between wallets, so no row is hot for all of them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from services.mesh.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)

MS_PER_MINUTE = 60_000
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


class UserNotFound(NotFound):
    """No user of this workspace has this e-mail address."""


class InvalidGuestToken(Unauthenticated):
    """The guest token opens no wallet."""


class UploadLimitExceeded(ResourceExhausted):
    """The plan's uploads of this month are used up."""


class UnknownCreditPack(InvalidArgument):
    """The plans file has no credit pack of this name."""


class PaymentsDisabled(FailedPrecondition):
    """This installation sells nothing: no payment provider is configured."""


class InvalidPaymentEvent(InvalidArgument):
    """The payment event cannot be trusted, read or matched with its purchase."""


class PaymentProviderFailed(Unavailable):
    """The payment provider refused or did not answer."""


class CheckoutNotFound(NotFound):
    """No purchase of this caller has this id."""


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
    OVERAGE = "OVERAGE"


class HoldState(StrEnum):
    """Where a hold stands; the proto's Hold.State without its prefix."""

    OPEN = "OPEN"
    SETTLED = "SETTLED"
    RELEASED = "RELEASED"


class CheckoutState(StrEnum):
    """Where a purchase stands; the proto's Checkout.State without its prefix."""

    OPEN = "OPEN"
    PAID = "PAID"
    EXPIRED = "EXPIRED"


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
        return self.posted_ms - self.debits_pending

    @property
    def posted_ms(self) -> int:
        """What came in for good less what went out, promises aside."""
        return self.credits_posted - self.debits_posted

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.debits_pending + other.debits_pending,
            self.debits_posted + other.debits_posted,
            self.credits_pending + other.credits_pending,
            self.credits_posted + other.credits_posted,
        )

    def __sub__(self, other: "Totals") -> "Totals":
        return Totals(
            self.debits_pending - other.debits_pending,
            self.debits_posted - other.debits_posted,
            self.credits_pending - other.credits_pending,
            self.credits_posted - other.credits_posted,
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


def period_bounds(period: str) -> tuple[datetime, datetime]:
    """The first moment of a calendar month and of the next."""
    start = datetime.strptime(period, "%Y-%m").replace(tzinfo=UTC)
    return start, (start + timedelta(days=31)).replace(day=1)


def grant_entry(wallet_id: str, period: str, amount_ms: int) -> Entry:
    """The plan's credit of one month."""
    name = f"grant:{wallet_id}:{period}"
    return Entry(name, wallet_id, EntryKind.GRANT, Account.SOURCE, Account.PLAN, amount_ms)


def raise_entries(wallet_id: str, period: str, granted_ms: int, included_ms: int) -> list[Entry]:
    """What a plan that includes more adds to the credit granted this month; a plan that includes less takes nothing back.

    Named by the sum, which only grows: moving to and fro never grants twice.
    """
    entry = grant_entry(wallet_id, period, included_ms - granted_ms)
    return [replace(entry, id=f"{entry.id}:{included_ms}")] if included_ms > granted_ms else []


def gift_entry(wallet_id: str, reference: str, amount_ms: int) -> Entry:
    """Credit by the operator's hand; it does not end with the month."""
    name = f"credit:{wallet_id}:{reference}"
    return Entry(name, wallet_id, EntryKind.GRANT, Account.SOURCE, Account.CREDIT, amount_ms)


def purchase_entry(wallet_id: str, checkout_id: str, amount_ms: int) -> Entry:
    """Credit that was paid for; it does not end with the month."""
    return Entry(f"payment:{checkout_id}", wallet_id, EntryKind.GRANT, Account.SOURCE, Account.CREDIT, amount_ms)


def used_beyond_ms(used_ms: int, accounts: Mapping[Account, Totals]) -> int:
    """How much of what the month spent is covered by no credit; holds do not count until they are charged."""
    balance_ms = accounts[Account.PLAN].posted_ms + accounts[Account.CREDIT].posted_ms
    return min(used_ms, max(0, -balance_ms))


def remaining_ms(used_ms: int, included_ms: int, accounts: Mapping[Account, Totals]) -> int:
    """How much of the month's included time is not spent, less what older debt takes of it."""
    balance_ms = accounts[Account.PLAN].posted_ms + accounts[Account.CREDIT].posted_ms
    return max(0, min(included_ms - used_ms, balance_ms))


def overage_cents(overage_ms: int, cents_per_minute: int) -> int:
    """The price of audio, a begun cent whole."""
    return -(-overage_ms * cents_per_minute // MS_PER_MINUTE)


def month_entries(wallet_id: str, past: str, period: str, funds: Funds, included_ms: int, overage_ms: int = 0) -> list[Entry]:
    """Ends the plan credit of the past month and grants the new one's.

    Open holds keep what they hold. Overage with a price is owed in money, so it leaves the balance. Other debt on the
    credit account is first covered by what the plan has left over. Months in which nothing happened granted and ended
    the same amount, so they are not written.
    """
    overage = Entry(f"overage:{wallet_id}:{past}", wallet_id, EntryKind.OVERAGE, Account.SOURCE, Account.CREDIT, overage_ms)
    unspent_ms = min(funds.plan_ms, funds.available_ms + overage_ms)
    expiry = Entry(f"expiry:{wallet_id}:{past}", wallet_id, EntryKind.EXPIRY, Account.PLAN, Account.SOURCE, unspent_ms)
    return [entry for entry in (overage, expiry, grant_entry(wallet_id, period, included_ms)) if entry.amount_ms > 0]
