"""The ledger on real databases: invariants I-16 to I-21."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from services.billing.domain import (
    HoldAlreadyReleased,
    HoldAlreadySettled,
    HoldNotFound,
    HoldState,
    NoCredits,
    UploadLimitExceeded,
    WorkspaceNotFound,
)
from services.billing.store.tables import Hold
from services.billing.usecases import ledger
from services.billing.usecases.verification import verify_ledger
from services.mesh.errors import InvalidField
from services.mesh.ids import new_id
from tests.billing.stage import MINUTE_MS, Stage, open_stage


async def _reserve(stage: Stage, workspace_id: str, minutes: float, job_id: str = "") -> Hold:
    amount_ms = round(minutes * MINUTE_MS)
    return (await ledger.reserve(stage.batches, workspace_id, job_id or new_id(), amount_ms)).hold


async def _minutes(stage: Stage, workspace_id: str) -> tuple[float, float, float, float]:
    balance = await ledger.get_balance(stage.billing, workspace_id)
    values = balance.available_ms, balance.held_ms, balance.used_ms, balance.granted_ms
    available, held, used, granted = (value / MINUTE_MS for value in values)
    return available, held, used, granted


async def _assert_sound(stage: Stage) -> None:
    found = await verify_ledger(stage.billing)
    assert (found.imbalance_ms, found.wrong_account_count) == (0, 0)


async def test_parallel_reserves_never_overdraw(stage: Stage) -> None:
    workspace = await stage.workspace()
    outcomes = await asyncio.gather(*(_reserve(stage, workspace.id, 2) for _ in range(200)), return_exceptions=True)
    assert sum(isinstance(outcome, Hold) for outcome in outcomes) == 50
    assert sum(isinstance(outcome, NoCredits) for outcome in outcomes) == 150
    assert await _minutes(stage, workspace.id) == (0, 100, 0, 100)
    await _assert_sound(stage)


async def test_reserves_of_two_replicas_never_overdraw(stage: Stage, database_url: str, tmp_path: Path) -> None:
    async with open_stage(database_url, tmp_path, stage.clock) as other:
        workspaces = [(await stage.workspace()).id for _ in range(5)]
        replicas = (stage, other)
        # Each replica meets the workspaces in another order: locks taken in that order would wait in a ring.
        orders = [_reserve(replicas[number % 2], workspaces[(number if number % 2 else -number) % 5], 4) for number in range(250)]
        outcomes = await asyncio.gather(*orders, return_exceptions=True)
    assert sum(isinstance(outcome, Hold) for outcome in outcomes) == 125
    assert sum(isinstance(outcome, NoCredits) for outcome in outcomes) == 125
    for workspace_id in workspaces:
        assert await _minutes(stage, workspace_id) == (0, 100, 0, 100)
    await _assert_sound(stage)


async def test_the_same_job_reserved_at_once_is_held_once(stage: Stage, database_url: str, tmp_path: Path) -> None:
    workspace, job_id = await stage.workspace(), new_id()
    async with open_stage(database_url, tmp_path, stage.clock) as other:
        both = [_reserve(replica, workspace.id, 2, job_id) for replica in (stage, other) * 20]
        holds = await asyncio.gather(*both)
    assert {hold.job_id for hold in holds} == {job_id}
    assert await _minutes(stage, workspace.id) == (98, 2, 0, 100)


async def test_repeated_reserve_answers_the_first_hold_even_without_credit(stage: Stage) -> None:
    workspace, job_id = await stage.workspace(), new_id()
    first = await _reserve(stage, workspace.id, 100, job_id)
    again = await _reserve(stage, workspace.id, 7, job_id)
    assert (again.amount_ms, again.create_time) == (first.amount_ms, first.create_time)


async def test_a_hold_with_a_ttl_is_renewed_while_open_and_never_shortened(stage: Stage) -> None:
    workspace, hold_id = await stage.workspace(), new_id()

    async def renew(seconds: int) -> Hold:
        ttl = timedelta(seconds=seconds)
        return (await ledger.reserve(stage.batches, workspace.id, hold_id, MINUTE_MS, ttl)).hold

    first = await renew(60)
    assert first.expire_time == first.create_time + timedelta(seconds=60)
    stage.clock.now += timedelta(seconds=50)
    assert (await renew(60)).expire_time == first.create_time + timedelta(seconds=110)
    await renew(1)
    assert [hold.expire_time for hold in await ledger.list_open_holds(stage.billing, None, None, 10)] == [
        first.create_time + timedelta(seconds=110)
    ]
    assert await _minutes(stage, workspace.id) == (99, 1, 0, 100)
    await ledger.settle(stage.batches, hold_id, MINUTE_MS, workspace.id)
    settled = await renew(60)
    assert (settled.state, settled.expire_time) == ("SETTLED", first.create_time + timedelta(seconds=110))
    assert await _minutes(stage, workspace.id) == (99, 0, 1, 100)


async def test_the_hold_of_a_job_gets_no_end_by_being_repeated(stage: Stage) -> None:
    workspace, job_id = await stage.workspace(), new_id()
    await _reserve(stage, workspace.id, 1, job_id)
    again = await ledger.reserve(stage.batches, workspace.id, job_id, MINUTE_MS, timedelta(seconds=60))
    assert again.hold.expire_time is None


async def test_a_job_of_another_workspace_cannot_be_reserved(stage: Stage) -> None:
    one, other, job_id = await stage.workspace(), await stage.workspace(), new_id()
    await _reserve(stage, one.id, 1, job_id)
    with pytest.raises(InvalidField):
        await _reserve(stage, other.id, 1, job_id)
    with pytest.raises(WorkspaceNotFound):
        await _reserve(stage, new_id(), 1)


async def test_a_hold_is_settled_or_released_and_never_both(stage: Stage, database_url: str, tmp_path: Path) -> None:
    workspace = await stage.workspace()
    jobs = [(await _reserve(stage, workspace.id, 1)).job_id for _ in range(20)]
    async with open_stage(database_url, tmp_path, stage.clock) as other:
        races = [
            attempt
            for job_id in jobs
            for replica in (stage, other)
            for attempt in (ledger.settle(replica.batches, job_id, MINUTE_MS), ledger.release(replica.batches, job_id))
        ]
        outcomes = await asyncio.gather(*races, return_exceptions=True)
    refusals = [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
    assert len(refusals) == 40
    assert set(refusals) <= {HoldAlreadySettled, HoldAlreadyReleased}
    endings = await stage.rows("SELECT pending_id, count(*) FROM transfer WHERE pending_id IS NOT NULL GROUP BY pending_id")
    assert sorted(endings) == sorted((f"hold:{job_id}", 1) for job_id in jobs)
    settled = await stage.rows("SELECT job_id FROM hold WHERE state = 'SETTLED'")
    assert await _minutes(stage, workspace.id) == (100 - len(settled), 0, len(settled), 100)
    await _assert_sound(stage)


async def test_settling_charges_what_was_decoded_and_gives_back_the_rest(stage: Stage) -> None:
    workspace = await stage.workspace()
    hold = await _reserve(stage, workspace.id, 10)
    settled = await ledger.settle(stage.batches, hold.job_id, 4 * MINUTE_MS)
    assert (settled.state, settled.settled_ms) == (HoldState.SETTLED, 4 * MINUTE_MS)
    assert await _minutes(stage, workspace.id) == (96, 0, 4, 100)
    again = await ledger.settle(stage.batches, hold.job_id, 9 * MINUTE_MS)
    assert again.settled_ms == 4 * MINUTE_MS
    with pytest.raises(HoldAlreadySettled):
        await ledger.release(stage.batches, hold.job_id)


async def test_settling_nothing_gives_the_hold_back(stage: Stage) -> None:
    workspace = await stage.workspace()
    hold = await _reserve(stage, workspace.id, 10)
    assert (await ledger.settle(stage.batches, hold.job_id, 0)).state == HoldState.RELEASED
    assert (await ledger.release(stage.batches, hold.job_id)).state == HoldState.RELEASED
    with pytest.raises(HoldAlreadyReleased):
        await ledger.settle(stage.batches, hold.job_id, 1)
    assert await _minutes(stage, workspace.id) == (100, 0, 0, 100)


@pytest.mark.parametrize(("other_minutes", "charged"), [(0, 30), (80, 20), (90, 10)])
async def test_audio_beyond_the_hold_is_charged_as_far_as_credit_goes(stage: Stage, other_minutes: float, charged: float) -> None:
    workspace = await stage.workspace()
    if other_minutes:
        await _reserve(stage, workspace.id, other_minutes)
    hold = await _reserve(stage, workspace.id, 10)
    settled = await ledger.settle(stage.batches, hold.job_id, 30 * MINUTE_MS)
    assert settled.settled_ms == charged * MINUTE_MS
    assert await _minutes(stage, workspace.id) == (100 - other_minutes - charged, other_minutes, charged, 100)
    await _assert_sound(stage)


async def test_holds_are_seen_by_their_own_workspace_only(stage: Stage) -> None:
    owner, stranger = await stage.workspace(), await stage.workspace()
    hold = await _reserve(stage, owner.id, 10)
    with pytest.raises(HoldNotFound):
        await ledger.release(stage.batches, hold.job_id, stranger.id)
    with pytest.raises(HoldNotFound):
        await ledger.settle(stage.batches, new_id(), 1)
    assert (await ledger.release(stage.batches, hold.job_id, owner.id)).state == HoldState.RELEASED


async def test_overage_goes_to_its_limit_and_no_further(stage: Stage) -> None:
    workspace = await stage.workspace("debt")
    await _reserve(stage, workspace.id, 150)
    assert await _minutes(stage, workspace.id) == (-50, 150, 0, 100)
    with pytest.raises(NoCredits) as refused:
        await _reserve(stage, workspace.id, 0.001)
    assert refused.value.metadata["available_ms"] == str(-50 * MINUTE_MS)
    await _assert_sound(stage)


async def test_plan_credit_is_spent_before_added_credit_and_ends_with_the_month(stage: Stage) -> None:
    workspace = await stage.workspace()
    await ledger.grant_credit(stage.billing, workspace.id, 40 * MINUTE_MS, "order-1")
    spent, kept = await _reserve(stage, workspace.id, 60), await _reserve(stage, workspace.id, 20)
    await ledger.settle(stage.batches, spent.job_id, 60 * MINUTE_MS)
    assert await _minutes(stage, workspace.id) == (60, 20, 60, 140)
    stage.clock.now = datetime(2026, 4, 1, tzinfo=UTC)
    # The 20 minutes that nobody used are gone, the 20 on hold and the 40 added ones are not.
    assert await _minutes(stage, workspace.id) == (140, 20, 0, 100)
    await ledger.settle(stage.batches, kept.job_id, 20 * MINUTE_MS)
    assert await _minutes(stage, workspace.id) == (140, 0, 20, 100)
    expiries = await stage.rows("SELECT id, amount_ms FROM transfer WHERE kind = 'EXPIRY'")
    assert expiries == [(f"expiry:{workspace.id}:2026-03", 20 * MINUTE_MS)]
    await _assert_sound(stage)


async def test_a_month_begins_once_however_many_ask(stage: Stage, database_url: str, tmp_path: Path) -> None:
    workspace = await stage.workspace()
    stage.clock.now = datetime(2026, 6, 30, 23, 59, tzinfo=UTC)
    async with open_stage(database_url, tmp_path, stage.clock) as other:
        asked = [
            ask
            for replica in (stage, other)
            for ask in (ledger.get_balance(replica.billing, workspace.id), _reserve(replica, workspace.id, 1))
        ]
        await asyncio.gather(*asked)
    grants = await stage.rows("SELECT id FROM transfer WHERE kind = 'GRANT' ORDER BY id")
    assert grants == [(f"grant:{workspace.id}:2026-03",), (f"grant:{workspace.id}:2026-06",)]
    assert await _minutes(stage, workspace.id) == (98, 2, 0, 100)
    await _assert_sound(stage)


async def test_credit_held_over_the_turn_of_the_month_ends_with_the_next(stage: Stage) -> None:
    workspace = await stage.workspace()
    hold = await _reserve(stage, workspace.id, 100)
    stage.clock.now = datetime(2026, 4, 1, tzinfo=UTC)
    await ledger.release(stage.batches, hold.job_id)
    assert await _minutes(stage, workspace.id) == (200, 0, 0, 100)
    stage.clock.now = datetime(2026, 5, 1, tzinfo=UTC)
    assert await _minutes(stage, workspace.id) == (100, 0, 0, 100)


async def test_the_same_reference_never_grants_twice(stage: Stage) -> None:
    workspace = await stage.workspace()
    same = [ledger.grant_credit(stage.billing, workspace.id, MINUTE_MS, "order-1") for _ in range(5)]
    balances = await asyncio.gather(*same)
    assert {balance.available_ms for balance in balances} == {101 * MINUTE_MS}
    with pytest.raises(WorkspaceNotFound):
        await ledger.grant_credit(stage.billing, new_id(), MINUTE_MS, "order-2")


async def test_exhausted_credit_is_told_once_an_hour(stage: Stage) -> None:
    workspace = await stage.workspace()
    for told in (1, 1, 2):
        refused = await asyncio.gather(*(_reserve(stage, workspace.id, 101) for _ in range(3)), return_exceptions=True)
        assert all(isinstance(refusal, NoCredits) for refusal in refused)
        events = await stage.rows("SELECT subject FROM outbox")
        assert events == [("steno.events.billing.CreditExhausted",)] * told
        stage.clock.pass_by(minutes=31)
    assert stage.woken


async def test_a_storm_of_refusals_is_refused_for_credit_alone(stage: Stage) -> None:
    workspace = await stage.workspace()
    refused = await asyncio.gather(*(_reserve(stage, workspace.id, 101) for _ in range(1000)), return_exceptions=True)
    assert {type(refusal) for refusal in refused} == {NoCredits}
    assert await stage.rows("SELECT count(*) FROM outbox") == [(1,)]
    assert len(stage.woken) == 1


async def test_an_upload_withdrawn_beside_it_makes_room_for_another(stage: Stage) -> None:
    workspace = await stage.workspace("few")
    jobs = [(await _reserve(stage, workspace.id, 0.1)).job_id for _ in range(50)]
    withdrawn, taken, refused = await asyncio.gather(
        ledger.release(stage.batches, jobs[0]),
        _reserve(stage, workspace.id, 0.1),
        _reserve(stage, workspace.id, 0.1),
        return_exceptions=True,
    )
    assert (isinstance(withdrawn, Hold), isinstance(taken, Hold)) == (True, True)
    assert isinstance(refused, UploadLimitExceeded)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE transfer SET amount_ms = 1",
        "DELETE FROM transfer",
        "TRUNCATE transfer CASCADE",
        "UPDATE hold SET state = 'OPEN', settled_ms = 0",
        "UPDATE account SET debits_posted = credits_posted + 1 WHERE kind = 'plan'",
        "INSERT INTO transfer SELECT 'again', workspace_id, debit_account, credit_account, amount_ms, kind, pending_id, job_id, create_time"
        " FROM transfer WHERE kind = 'SETTLEMENT'",
        "INSERT OR REPLACE INTO transfer SELECT * FROM transfer WHERE kind = 'SETTLEMENT'",
    ],
)
async def test_the_database_itself_refuses_to_rewrite_the_ledger(stage: Stage, statement: str) -> None:
    workspace = await stage.workspace()
    hold = await _reserve(stage, workspace.id, 10)
    await ledger.settle(stage.batches, hold.job_id, MINUTE_MS)
    before = await stage.rows("SELECT * FROM transfer ORDER BY id")
    if stage.billing.database.dialect == "postgresql":
        statement = statement.replace("INSERT OR REPLACE", "INSERT")
    else:
        statement = statement.replace("TRUNCATE transfer CASCADE", "DELETE FROM transfer WHERE kind = 'SETTLEMENT'")
    with pytest.raises(DBAPIError):
        await stage.write(statement)
    assert await stage.rows("SELECT * FROM transfer ORDER BY id") == before
    await _assert_sound(stage)


@pytest.mark.parametrize(
    ("tampering", "imbalance_ms", "wrong"),
    [
        ("UPDATE account SET credits_posted = credits_posted + 5 WHERE kind = 'plan'", 5, 1),
        ("UPDATE account SET debits_pending = debits_pending + 1, debits_posted = debits_posted - 1 WHERE kind = 'plan'", 2, 1),
        ("UPDATE hold SET amount_ms = amount_ms + 1 WHERE state = 'OPEN'", 0, 1),
    ],
)
async def test_verification_finds_what_does_not_follow_from_transfers(stage: Stage, tampering: str, imbalance_ms: int, wrong: int) -> None:
    workspace = await stage.workspace()
    spent = await _reserve(stage, workspace.id, 10)
    await ledger.settle(stage.batches, spent.job_id, MINUTE_MS)
    await _reserve(stage, workspace.id, 10)
    await stage.write(tampering)
    found = await verify_ledger(stage.billing)
    assert (found.imbalance_ms, found.wrong_account_count) == (imbalance_ms, wrong)
    assert (found.transfer_count, found.open_hold_count) == (4, 1)


async def test_one_bad_request_does_not_fail_its_batch(stage: Stage) -> None:
    workspace = await stage.workspace()
    good, bad, missing = _reserve(stage, workspace.id, 1), _reserve(stage, workspace.id, 1000), _reserve(stage, new_id(), 1)
    outcomes = await asyncio.gather(good, bad, missing, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Hold, NoCredits, WorkspaceNotFound]
