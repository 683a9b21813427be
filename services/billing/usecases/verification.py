"""Recomputing the ledger, without reading all of its history at every turn.

A turn compares every account with what it was at the last turn and the transfers since; where that does not fit, where nothing is
remembered, and for a part of the workspaces in turn, it adds up all their transfers instead. What is older than `SETTLING` is
remembered as a count and a digest, in memory only: whoever changes the database does not change that with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import groupby

from services.billing.domain import Account, Totals
from services.billing.store import accounts, verification
from services.billing.store.verification import Ledger, Place, Stored
from services.billing.usecases.billing import Billing

WORKSPACES_AT_ONCE = 200
TRANSFERS_AT_ONCE = 20_000
SETTLING = timedelta(minutes=2)
"""Longer than any transaction lasts: what is older has been committed."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


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


@dataclass(frozen=True)
class Base:
    """What a workspace's transfers before a time add up to, and how many they are."""

    transfer_count: int
    digest: bytes


@dataclass
class Memory:
    """What one turn leaves to the next. since: the time that all bases end at; rewritten: workspaces whose past was changed."""

    since: datetime | None = None
    bases: dict[str, Base] = field(default_factory=dict)
    rewritten: set[str] = field(default_factory=set)


@dataclass
class Share:
    """The workspaces whose history is due: so many behind the last one, in the order of ids."""

    last_id: str = ""
    left: int = 0

    def takes(self, workspace_id: str) -> bool:
        """Whether this one is due; asked in the order of ids."""
        if not self.left or workspace_id <= self.last_id:
            return False
        self.left -= 1
        self.last_id = workspace_id
        return True


@dataclass(frozen=True)
class Seen:
    """A workspace as one snapshot saw it. recent: transfers from the end of its base on; settling: those that may still change."""

    workspace_id: str
    stored: Stored
    recent: Ledger
    settling: Ledger
    base: Base | None
    due: bool

    @property
    def before(self) -> dict[str, Totals]:
        """What the accounts were without the recent transfers."""
        return _less(self.stored.ledger, self.recent)

    @property
    def needs_history(self) -> bool:
        """Whether all of its transfers are to be added up."""
        return self.due or self.base is None or _digest(self.before) != self.base.digest

    def next_base(self, base: Base) -> Base:
        """What to remember, given what the transfers before the recent ones are."""
        count = base.transfer_count + self.recent.transfer_count - self.settling.transfer_count
        return Base(count, _digest(_less(self.stored.ledger, self.settling)))


def _less(stored: Ledger, recent: Ledger) -> dict[str, Totals]:
    return {name: totals - recent.accounts.get(name, Totals()) for name, totals in stored.accounts.items()}


def _digest(totals: Mapping[str, Totals]) -> bytes:
    told = sorted((name, repr(value)) for name, value in totals.items() if value != Totals())
    return blake2b(repr(told).encode(), digest_size=16).digest()


class Verifier:
    """Checks the ledger turn by turn; in so many turns it adds up the whole history of every workspace once."""

    def __init__(self, billing: Billing, history_turns: float = 1) -> None:
        self._billing = billing
        self._history_turns = history_turns
        self._memory = Memory()
        self._last_id = ""
        self._owed = 0.0

    async def turn(self) -> Findings:
        """Check every workspace. Raises ServiceUnavailable; the next turn then does what this one did not."""
        async with self._billing.database.reading() as session:
            until = await accounts.read_clock(session, self._billing.clock) - SETTLING
        if self._memory.since is not None and until < self._memory.since:
            # The clock was set back: by their times, new transfers may be older than what is remembered.
            self._memory = Memory(rewritten=self._memory.rewritten)
        known = len(self._memory.bases)
        self._owed = min(known, self._owed + known / self._history_turns)
        share = Share(self._last_id, int(self._owed))
        check = _Check(self._billing, self._memory, until, share)
        findings = await check.run()
        self._owed -= int(self._owed) - share.left
        self._last_id = "" if share.left else share.last_id
        self._memory = check.next
        return findings


class _Check:
    """One turn."""

    def __init__(self, billing: Billing, memory: Memory, until: datetime, share: Share) -> None:
        self.next = Memory(until, rewritten=memory.rewritten)
        self._billing = billing
        self._memory = memory
        self._until = until
        self._share = share

    async def run(self) -> Findings:
        findings, last_id = Findings(), ""
        while page := await self._page(last_id):
            suspects = [seen for seen in page if seen.needs_history]
            history = await self._history(page, {seen.workspace_id for seen in suspects})
            for seen in page:
                findings += self._judge(seen, history.get(seen.workspace_id))
            last_id = page[-1].workspace_id
        return findings

    async def _page(self, after_id: str) -> list[Seen]:
        since = self._memory.since or self._until
        async with self._billing.database.reading() as session:
            ids = await verification.list_workspaces(session, after_id, WORKSPACES_AT_ONCE)
            stored = await verification.read_stored(session, ids)
            settling = await verification.sum_since(session, ids, self._until)
            recent = await verification.sum_since(session, ids, since)
        pages = []
        for key in ids:
            base = self._memory.bases.get(key)
            late = settling.get(key, Ledger())
            pages.append(Seen(key, stored[key], recent.get(key, Ledger()) if base else late, late, base, self._share.takes(key)))
        return pages

    async def _history(self, page: Sequence[Seen], wanted: set[str]) -> dict[str, Ledger]:
        """The bases of those workspaces, added up from their transfers in slices."""
        ledgers = {workspace_id: Ledger() for workspace_id in wanted}
        for first, last, is_known in _runs(page, wanted):
            until = self._memory.since if is_known and self._memory.since else self._until
            place: Place | None = (first, _LONG_AGO, "")
            while place is not None:
                async with self._billing.database.reading() as session:
                    place = await verification.add_history(session, place, last, until, TRANSFERS_AT_ONCE, ledgers)
        return ledgers

    def _judge(self, seen: Seen, history: Ledger | None) -> Findings:
        base = seen.base if history is None else Base(history.transfer_count, _digest(history.accounts))
        wrong = {account.of(seen.workspace_id) for account in Account} ^ seen.stored.ledger.accounts.keys()
        if history is not None:
            wrong |= _differing(history.accounts, seen.before)
        if seen.stored.held_ms != seen.stored.pending_ms:
            wrong.add(seen.stored.usage_account)
        if seen.base and base and base.digest != seen.base.digest and base.transfer_count <= seen.base.transfer_count:
            # More transfers may have come late; as many or fewer that add up to something else were changed.
            self.next.rewritten.add(seen.workspace_id)
        if base and not wrong:
            self.next.bases[seen.workspace_id] = seen.next_base(base)
        count = (base.transfer_count if base else 0) + seen.recent.transfer_count
        wrong_count = max(len(wrong), seen.workspace_id in self.next.rewritten)
        return Findings(_imbalance_ms(seen.stored.ledger), wrong_count, count, seen.stored.open_hold_count)


def _runs(page: Sequence[Seen], wanted: set[str]) -> Iterator[tuple[str, str, bool]]:
    """First and last of wanted workspaces that follow each other, and whether their bases are known."""
    for (is_wanted, is_known), run in groupby(page, key=lambda seen: (seen.workspace_id in wanted, seen.base is not None)):
        ids = [seen.workspace_id for seen in run]
        if is_wanted:
            yield ids[0], ids[-1], is_known


def _differing(first: Mapping[str, Totals], second: Mapping[str, Totals]) -> set[str]:
    return {name for name in first.keys() | second.keys() if first.get(name, Totals()) != second.get(name, Totals())}


def _imbalance_ms(ledger: Ledger) -> int:
    """How far the accounts are from adding up to nothing."""
    totals = sum(ledger.accounts.values(), Totals())
    return abs(totals.credits_pending - totals.debits_pending) + abs(totals.credits_posted - totals.debits_posted)


async def verify_ledger(billing: Billing) -> Findings:
    """Recompute every account from all of its transfers and compare."""
    return await Verifier(billing).turn()
