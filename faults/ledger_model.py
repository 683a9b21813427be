"""What one wallet's ledger should be, on plain integers: the model that billing is compared with.

It shares no line with billing: four accounts of four totals each, holds with the parts that they took from plan and credit, and months.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

ACCOUNTS = ("plan", "credit", "source", "usage")
TOTALS = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")


@dataclass(frozen=True)
class Terms:
    """What a wallet's plan says. monthly_uploads: 0 for no limit."""

    included_ms: int
    overage_limit_ms: int = 0
    overage_cents_per_minute: int = 0
    monthly_uploads: int = 0


@dataclass
class Hold:
    """A hold: from plan and from credit. expires: seconds on the clock; None for the hold of a job."""

    parts: tuple[int, int]
    expires: int | None
    month: int | None
    state: str = "OPEN"
    settled_ms: int = 0

    @property
    def amount_ms(self) -> int:
        """What was put on hold."""
        return sum(self.parts)


@dataclass
class Wallet:
    """One wallet. month: the one that it is in, by number; spent_before_ms, granted_before_ms: until it began; uploads: by month."""

    terms: Terms
    month: int = 0
    totals: Counter[tuple[str, str]] = field(default_factory=Counter)
    holds: dict[str, Hold] = field(default_factory=dict)
    references: set[int] = field(default_factory=set)
    uploads: Counter[int | None] = field(default_factory=Counter)
    spent_before_ms: int = 0
    granted_before_ms: int = 0

    def __post_init__(self) -> None:
        self._post("source", "plan", self.terms.included_ms)

    def _post(self, debit: str, credit: str, amount_ms: int) -> None:
        self.totals[debit, "debits_posted"] += amount_ms
        self.totals[credit, "credits_posted"] += amount_ms

    def _promise(self, account: str, amount_ms: int) -> None:
        self.totals[account, "debits_pending"] += amount_ms
        self.totals["usage", "credits_pending"] += amount_ms

    def posted_ms(self, account: str) -> int:
        """What came in less what went out."""
        return self.totals[account, "credits_posted"] - self.totals[account, "debits_posted"]

    def free_ms(self, account: str) -> int:
        """What is neither spent nor promised."""
        return self.posted_ms(account) - self.totals[account, "debits_pending"]

    @property
    def available_ms(self) -> int:
        """The balance that callers see."""
        return self.free_ms("plan") + self.free_ms("credit")

    @property
    def held_ms(self) -> int:
        """What is promised."""
        return self.totals["usage", "credits_pending"]

    @property
    def used_ms(self) -> int:
        """Spent in the month."""
        return self.totals["usage", "credits_posted"] - self.spent_before_ms

    @property
    def granted_ms(self) -> int:
        """Granted in the month."""
        return self.totals["source", "debits_posted"] - self.granted_before_ms

    @property
    def overage_ms(self) -> int:
        """What the month spent that no credit covers."""
        return max(0, min(self.used_ms, -(self.posted_ms("plan") + self.posted_ms("credit"))))

    def begin(self, month: int) -> None:
        """Be in a month: the first touch in it ends what is left of the plan's credit and grants anew."""
        if month <= self.month:
            return
        debt_ms = self.overage_ms if self.terms.overage_cents_per_minute else 0
        expired_ms = max(0, min(self.free_ms("plan"), self.available_ms + debt_ms))
        self.spent_before_ms = self.totals["usage", "credits_posted"]
        self.granted_before_ms = self.totals["source", "debits_posted"] + debt_ms
        self._post("source", "credit", debt_ms)
        self._post("plan", "source", expired_ms)
        self._post("source", "plan", self.terms.included_ms)
        self.month = month

    def reserve(self, job_id: str, amount_ms: int, month: int, *, now: int = 0, ttl: int | None = None) -> str:
        """The state of the job's hold, or why there is none."""
        self.begin(month)
        hold = self.holds.get(job_id)
        if hold is not None:
            if hold.state == "OPEN" and hold.expires is not None and ttl is not None:
                hold.expires = max(hold.expires, now + ttl)
            return hold.state
        if self.terms.monthly_uploads and self.uploads[self.month] >= self.terms.monthly_uploads:
            return "UPLOAD_LIMIT_EXCEEDED"
        if amount_ms > self._spendable_ms():
            return "NO_CREDITS"
        self.holds[job_id] = Hold(self._take(amount_ms), None if ttl is None else now + ttl, self.month)
        self.uploads[self.month] += 1
        return "OPEN"

    def _spendable_ms(self) -> int:
        return max(0, self.available_ms + self.terms.overage_limit_ms)

    def _take(self, amount_ms: int) -> tuple[int, int]:
        from_plan_ms = min(amount_ms, self.free_ms("plan"))
        self._promise("plan", from_plan_ms)
        self._promise("credit", amount_ms - from_plan_ms)
        return from_plan_ms, amount_ms - from_plan_ms

    def end(self, job_id: str, billable_ms: int, month: int, *, withdraw: bool = False) -> str:
        """The state in which the job's hold ended, or why it does not."""
        hold = self.holds.get(job_id)
        if hold is None:
            return "HOLD_NOT_FOUND"
        self.begin(month)
        asked = "SETTLED" if billable_ms else "RELEASED"
        if hold.state != "OPEN":
            return asked if hold.state == asked else f"HOLD_ALREADY_{hold.state}"
        beyond = self._take(min(max(0, billable_ms - hold.amount_ms), self._spendable_ms()))
        hold.state, hold.settled_ms = asked, min(billable_ms, hold.amount_ms + sum(beyond))
        self._charge((*hold.parts, *beyond), hold.settled_ms)
        if withdraw:
            self.uploads[hold.month] -= 1
            hold.month = None
        return asked

    def _charge(self, parts: Sequence[int], charge_ms: int) -> None:
        for account, part_ms in zip(("plan", "credit") * 2, parts, strict=False):
            charged_ms = min(charge_ms, part_ms)
            charge_ms -= charged_ms
            self._promise(account, -part_ms)
            self._post(account, "usage", charged_ms)

    def grant(self, reference: int, amount_ms: int, month: int) -> None:
        """Credit by the operator's hand, once for a reference."""
        self.begin(month)
        if reference not in self.references:
            self.references.add(reference)
            self._post("source", "credit", amount_ms)

    def accounts(self) -> dict[str, tuple[int, ...]]:
        """The four totals of every account."""
        return {account: tuple(self.totals[account, total] for total in TOTALS) for account in ACCOUNTS}
