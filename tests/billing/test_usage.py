"""Usage of a month, uploads and overage, on real databases: invariants I-16 to I-21."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.billing import domain
from services.billing.domain import NoCredits, UploadLimitExceeded
from services.billing.usecases import assignment, ledger, users
from services.billing.usecases.book import Held
from services.billing.usecases.verification import verify_ledger
from services.mesh.ids import new_id
from steno.billing.v1.ledger_pb2 import Usage
from tests.billing.stage import MINUTE_MS, Stage, open_stage

APRIL = datetime(2026, 4, 1, tzinfo=UTC)


async def _reserve(stage: Stage, wallet_id: str, minutes: float = 1) -> str:
    held = await ledger.reserve(stage.batches, wallet_id, new_id(), round(minutes * MINUTE_MS))
    return held.hold.job_id


async def _spend(stage: Stage, wallet_id: str, minutes: float) -> None:
    await ledger.settle(stage.batches, await _reserve(stage, wallet_id, minutes), round(minutes * MINUTE_MS))


async def _usage(stage: Stage, wallet_id: str) -> Usage:
    return await ledger.get_usage(stage.billing, wallet_id)


async def _minutes(stage: Stage, wallet_id: str) -> tuple[float, float, float, float]:
    usage = await _usage(stage, wallet_id)
    included, used, remaining, overage = (
        value / MINUTE_MS for value in (usage.included_ms, usage.used_ms, usage.remaining_ms, usage.overage_ms)
    )
    return included, used, remaining, overage


async def test_usage_is_that_of_the_calendar_month_in_utc(stage: Stage) -> None:
    workspace = await stage.workspace()
    await _spend(stage, workspace.id, 30.5)
    usage = await _usage(stage, workspace.id)
    assert usage.start_time.ToDatetime(tzinfo=UTC) == datetime(2026, 3, 1, tzinfo=UTC)
    assert usage.end_time.ToDatetime(tzinfo=UTC) == APRIL
    assert usage.plan.name == "small"
    assert await _minutes(stage, workspace.id) == (100, 30.5, 69.5, 0)
    stage.clock.now = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    usage = await _usage(stage, workspace.id)
    assert usage.end_time.ToDatetime(tzinfo=UTC) == datetime(2027, 1, 1, tzinfo=UTC)
    assert await _minutes(stage, workspace.id) == (100, 0, 100, 0)


async def test_bought_credit_is_no_overage_and_what_lies_beyond_it_is(stage: Stage) -> None:
    workspace = await stage.workspace("priced")
    await ledger.grant_credit(stage.billing, workspace.id, 10 * MINUTE_MS, "order-1")
    await _spend(stage, workspace.id, 205)
    assert await _minutes(stage, workspace.id) == (200, 205, 0, 0)
    await _spend(stage, workspace.id, 25)
    assert await _minutes(stage, workspace.id) == (200, 230, 0, 20)
    assert (await _usage(stage, workspace.id)).overage_cents == 140
    # A hold is no overage yet: it may be given back.
    await _reserve(stage, workspace.id, 10)
    assert await _minutes(stage, workspace.id) == (200, 230, 0, 20)


@pytest.mark.parametrize(
    ("overage_ms", "cents_per_minute", "cents"),
    [(0, 7, 0), (1, 7, 1), (60_000, 7, 7), (60_001, 7, 8), (8571, 7, 1), (8572, 7, 2), (10**13, 10**6, -(-(10**19) // 60_000)), (5, 0, 0)],
)
def test_a_begun_cent_of_overage_is_a_whole_one(overage_ms: int, cents_per_minute: int, cents: int) -> None:
    assert domain.overage_cents(overage_ms, cents_per_minute) == cents


async def test_priced_overage_leaves_the_balance_with_its_month(stage: Stage) -> None:
    workspace = await stage.workspace("priced")
    await _spend(stage, workspace.id, 240)
    assert await _minutes(stage, workspace.id) == (200, 240, 0, 40)
    stage.clock.now = APRIL
    assert await _minutes(stage, workspace.id) == (200, 0, 200, 0)
    balance = await ledger.get_balance(stage.billing, workspace.id)
    assert (balance.available_ms, balance.granted_ms) == (200 * MINUTE_MS, 200 * MINUTE_MS)
    overage = await stage.rows("SELECT id, amount_ms FROM transfer WHERE kind = 'OVERAGE'")
    assert overage == [(f"overage:{workspace.id}:2026-03", 40 * MINUTE_MS)]
    assert (await verify_ledger(stage.billing)).is_sound


async def test_overage_without_a_price_is_paid_back_by_the_next_month(stage: Stage) -> None:
    workspace = await stage.workspace("debt")
    await _spend(stage, workspace.id, 130)
    stage.clock.now = APRIL
    assert await _minutes(stage, workspace.id) == (100, 0, 70, 0)
    assert (await ledger.get_balance(stage.billing, workspace.id)).available_ms == 70 * MINUTE_MS
    await _spend(stage, workspace.id, 80)
    assert await _minutes(stage, workspace.id) == (100, 80, 0, 10)


async def test_a_hold_over_the_turn_of_the_month_is_overage_of_the_month_that_charges_it(stage: Stage) -> None:
    workspace = await stage.workspace("priced")
    job_id = await _reserve(stage, workspace.id, 240)
    stage.clock.now = APRIL
    assert await _minutes(stage, workspace.id) == (200, 0, 200, 0)
    await ledger.settle(stage.batches, job_id, 240 * MINUTE_MS)
    assert (await verify_ledger(stage.billing)).is_sound
    usage, balance = await _usage(stage, workspace.id), await ledger.get_balance(stage.billing, workspace.id)
    assert (usage.used_ms, usage.overage_ms) == (240 * MINUTE_MS, max(0, -balance.available_ms))


async def test_of_two_hundred_submits_at_once_the_plan_s_uploads_are_accepted(stage: Stage, database_url: str, tmp_path: Path) -> None:
    workspace = await stage.workspace("few")
    async with open_stage(database_url, tmp_path, stage.clock) as other:
        submits = [_reserve((stage, other)[number % 2], workspace.id, 0.1) for number in range(200)]
        outcomes = await asyncio.gather(*submits, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert {type(outcome) for outcome in refused} == {UploadLimitExceeded}
    assert len(outcomes) - len(refused) == 50
    assert (await _usage(stage, workspace.id)).upload_count == 50
    stage.clock.now = APRIL
    assert (await _usage(stage, workspace.id)).upload_count == 0
    assert await _reserve(stage, workspace.id)


async def test_of_two_hundred_submits_against_credit_for_fifty_fifty_are_accepted_whoever_pays(
    stage: Stage, database_url: str, tmp_path: Path
) -> None:
    user = await users.resolve_user(stage.billing, (await stage.workspace()).id, "ann@example.com")
    async with open_stage(database_url, tmp_path, stage.clock) as other:
        submits = [_reserve((stage, other)[number % 2], user.id, 2) for number in range(200)]
        outcomes = await asyncio.gather(*submits, return_exceptions=True)
    assert sum(isinstance(outcome, str) for outcome in outcomes) == 50
    assert sum(isinstance(outcome, NoCredits) for outcome in outcomes) == 150
    assert (await _usage(stage, user.id)).upload_count == 50
    assert (await verify_ledger(stage.billing)).is_sound


async def test_a_failed_job_counts_as_an_upload_and_a_withdrawn_submit_does_not(stage: Stage) -> None:
    workspace = await stage.workspace("few")
    failed, withdrawn = await _reserve(stage, workspace.id), await _reserve(stage, workspace.id)
    assert (await _usage(stage, workspace.id)).upload_count == 2
    await ledger.end_job(stage.batches, failed, workspace.id, 0)
    for _ in range(2):
        await ledger.release(stage.batches, withdrawn)
    assert (await _usage(stage, workspace.id)).upload_count == 1
    assert await _minutes(stage, workspace.id) == (100, 0, 100, 0)


async def test_a_repeated_reserve_is_one_upload_even_at_the_limit(stage: Stage) -> None:
    workspace, job_id = await stage.workspace("few"), new_id()
    for _ in range(49):
        await _reserve(stage, workspace.id)
    for _ in range(3):
        held = await ledger.reserve(stage.batches, workspace.id, job_id, MINUTE_MS)
        assert isinstance(held, Held)
    assert (await _usage(stage, workspace.id)).upload_count == 50
    with pytest.raises(UploadLimitExceeded) as refused:
        await _reserve(stage, workspace.id)
    assert refused.value.metadata == {"monthly_uploads": "50", "upload_count": "50"}


async def test_usage_follows_a_move_to_another_plan(stage: Stage) -> None:
    workspace = await stage.workspace()
    await _spend(stage, workspace.id, 90)
    await assignment.assign_plan(stage.billing, workspace.id, "", "priced")
    assert await _minutes(stage, workspace.id) == (200, 90, 110, 0)
    assert (await _usage(stage, workspace.id)).plan.name == "priced"


async def test_the_end_of_a_users_job_is_told_with_its_workspace_and_ends_the_users_hold(stage: Stage) -> None:
    workspace, stranger = await stage.workspace(), await stage.workspace()
    user = await users.resolve_user(stage.billing, workspace.id, "ann@example.com")
    job_id = await _reserve(stage, user.id, 10)
    with pytest.raises(domain.HoldNotFound):
        await ledger.end_job(stage.batches, job_id, stranger.id, 4 * MINUTE_MS)
    await ledger.end_job(stage.batches, job_id, workspace.id, 4 * MINUTE_MS)
    assert await _minutes(stage, user.id) == (100, 4, 96, 0)
    assert await _minutes(stage, workspace.id) == (100, 0, 100, 0)
