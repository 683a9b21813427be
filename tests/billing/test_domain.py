"""The rules of credit, on plain values."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.billing import domain
from services.billing.domain import Account, EntryKind, Funds, NoCredits


def _amounts(entries: list[domain.Entry]) -> list[tuple[str, Account, int]]:
    return [(entry.id, entry.debit, entry.amount_ms) for entry in entries]


def test_months_are_those_of_utc() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert domain.period_of(datetime(2026, 4, 1, 8, tzinfo=tokyo)) == "2026-03"
    assert domain.period_of(datetime(2026, 4, 1, 0, tzinfo=UTC)) == "2026-04"


def test_a_hold_takes_plan_credit_first() -> None:
    legs = domain.hold_entries("w", "j", 30, Funds(plan_ms=20, credit_ms=15, overage_limit_ms=0))
    assert _amounts(legs) == [("hold:j", Account.PLAN, 20), ("hold:j:2", Account.CREDIT, 10)]
    only = domain.hold_entries("w", "j", 10, Funds(plan_ms=0, credit_ms=15, overage_limit_ms=0))
    assert _amounts(only) == [("hold:j", Account.CREDIT, 10)]


def test_debt_counts_against_what_the_plan_still_has() -> None:
    with pytest.raises(NoCredits):
        domain.hold_entries("w", "j", 91, Funds(plan_ms=100, credit_ms=-20, overage_limit_ms=10))
    assert domain.hold_entries("w", "j", 90, Funds(plan_ms=100, credit_ms=-20, overage_limit_ms=10))


def test_a_charge_ends_every_leg_and_releases_what_it_does_not_need() -> None:
    legs = domain.hold_entries("w", "j", 30, Funds(plan_ms=20, credit_ms=15, overage_limit_ms=0))
    endings = list(domain.ending_entries(legs, 20))
    assert [(entry.id, entry.kind, entry.amount_ms, entry.pending_id) for entry in endings] == [
        ("settlement:j", EntryKind.SETTLEMENT, 20, "hold:j"),
        ("release:j:2", EntryKind.RELEASE, 10, "hold:j:2"),
    ]
    changes = domain.total_changes([*legs, *endings])
    assert changes[Account.CREDIT] == domain.Totals()
    assert changes[Account.PLAN].available_ms == -20


@pytest.mark.parametrize(("plan_ms", "credit_ms", "expired_ms"), [(100, 50, 100), (100, -30, 70), (20, -30, 0), (0, 50, 0)])
def test_unspent_plan_credit_covers_debt_before_it_ends(plan_ms: int, credit_ms: int, expired_ms: int) -> None:
    entries = domain.month_entries("w", "2026-03", "2026-05", Funds(plan_ms, credit_ms, 0), 200)
    expected = [("expiry:w:2026-03", expired_ms)] if expired_ms else []
    assert [(entry.id, entry.amount_ms) for entry in entries] == [*expected, ("grant:w:2026-05", 200)]
