"""The verifier reads little, and finds whatever was changed: at its next turn, or with the history's."""

import asyncio
from datetime import timedelta

import pytest

from services.billing.usecases import ledger, verification
from services.billing.usecases.verification import Verifier
from services.mesh.ids import new_id
from tests.billing.stage import MINUTE_MS, Stage

TRIGGERS = ("transfer_not_changed", "transfer_not_deleted", "transfer_not_replaced")


async def _spend(stage: Stage, workspace_id: str, minutes: int = 10, charged: int = 4) -> str:
    job_id = new_id()
    await ledger.reserve(stage.batches, workspace_id, job_id, minutes * MINUTE_MS)
    await ledger.settle(stage.batches, job_id, charged * MINUTE_MS)
    return job_id


async def _unguarded(stage: Stage) -> None:
    """What somebody does who changes transfers: take the triggers away."""
    postgres = stage.billing.database.dialect == "postgresql"
    for trigger in TRIGGERS[:1] if postgres else TRIGGERS:
        await stage.write(f"DROP TRIGGER {trigger}" + (" ON transfer" if postgres else ""))


async def _settled(stage: Stage, verifier: Verifier) -> None:
    """Let everything written so far become history to the verifier."""
    assert (await verifier.turn()).is_sound
    stage.clock.now += 2 * verification.SETTLING
    assert (await verifier.turn()).is_sound


async def test_turns_over_a_ledger_that_goes_on_find_nothing(stage: Stage) -> None:
    workspaces = [(await stage.workspace(plan)).id for plan in ("small", "debt", "priced")]
    verifier = Verifier(stage.billing, 3)
    for turn in range(12):
        await asyncio.gather(*(_spend(stage, workspace_id, 10, turn % 12) for workspace_id in workspaces))
        await ledger.reserve(stage.batches, workspaces[turn % 3], new_id(), MINUTE_MS)
        found = await verifier.turn()
        assert (found.imbalance_ms, found.wrong_account_count, found.open_hold_count) == (0, 0, turn + 1)
        assert found.transfer_count == (await stage.rows("SELECT count(*) FROM transfer"))[0][0]
        stage.clock.now += timedelta(seconds=50)


async def test_a_clock_that_is_set_back_is_no_fault(stage: Stage) -> None:
    workspace, verifier = await stage.workspace(), Verifier(stage.billing, 100)
    for hours in (0, 1, -3, 1, 1, 0):
        stage.clock.now += timedelta(hours=hours)
        await _spend(stage, workspace.id)
        assert (await verifier.turn()).is_sound


async def test_transfers_that_came_late_are_no_fault(stage: Stage) -> None:
    workspace, verifier = await stage.workspace(), Verifier(stage.billing, 100)
    await _spend(stage, workspace.id)
    await _settled(stage, verifier)
    stage.clock.now -= 3 * verification.SETTLING
    await _spend(stage, workspace.id)
    stage.clock.now += 3 * verification.SETTLING
    assert (await verifier.turn()).is_sound


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE account SET credits_posted = credits_posted + 5 WHERE kind = 'plan'",
        "UPDATE account SET debits_posted = debits_posted - 1 WHERE kind = 'plan'",
        "DELETE FROM account WHERE kind = 'credit'",
        "UPDATE hold SET amount_ms = amount_ms + 1 WHERE state = 'OPEN'",
        "DELETE FROM hold WHERE state = 'OPEN'",
        "INSERT INTO transfer SELECT 'again', workspace_id, debit_account, credit_account, amount_ms, kind, pending_id, job_id,"
        " (SELECT max(create_time) FROM transfer) FROM transfer WHERE kind = 'GRANT'",
    ],
)
async def test_the_next_turn_finds_what_does_not_follow(stage: Stage, tampering: str) -> None:
    workspace, verifier = await stage.workspace(), Verifier(stage.billing, 1000)
    await _spend(stage, workspace.id)
    await _settled(stage, verifier)
    await ledger.reserve(stage.batches, workspace.id, new_id(), MINUTE_MS)
    assert (await verifier.turn()).is_sound
    await stage.write(tampering)
    for _ in range(2):
        assert not (await verifier.turn()).is_sound


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE transfer SET amount_ms = amount_ms + 1 WHERE kind = 'SETTLEMENT'",
        "DELETE FROM transfer WHERE kind = 'SETTLEMENT'",
        "UPDATE transfer SET credit_account = debit_account, debit_account = credit_account WHERE kind = 'GRANT'",
    ],
)
async def test_a_transfer_of_long_ago_that_was_changed_is_found_with_the_history(stage: Stage, tampering: str) -> None:
    turns = 4
    workspaces = [(await stage.workspace()).id for _ in range(6)]
    verifier = Verifier(stage.billing, turns)
    await _spend(stage, workspaces[-1])
    await _settled(stage, verifier)
    await _unguarded(stage)
    await stage.write(f"{tampering} AND workspace_id = '{workspaces[-1]}'")
    found = [(await verifier.turn()).is_sound for _ in range(turns + 1)]
    assert not found[-1], "what was found is told until it is repaired"


async def test_a_past_rewritten_to_fit_its_accounts_is_told(stage: Stage) -> None:
    workspace, verifier = await stage.workspace(), Verifier(stage.billing, 1000)
    await _spend(stage, workspace.id)
    await _settled(stage, verifier)
    await _unguarded(stage)
    await stage.write("UPDATE transfer SET amount_ms = amount_ms + 1 WHERE kind = 'SETTLEMENT'")
    await stage.write("UPDATE account SET debits_posted = debits_posted + 1 WHERE kind = 'plan'")
    await stage.write("UPDATE account SET credits_posted = credits_posted + 1 WHERE kind = 'usage'")
    assert (await verification.verify_ledger(stage.billing)).is_sound, "nobody who did not see it before can tell"
    for _ in range(2):
        assert (await verifier.turn()).wrong_account_count == 1


async def test_history_is_read_in_slices(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        workspace = await stage.workspace()
        for _ in range(7):
            await _spend(stage, workspace.id)
    stage.clock.now += 2 * verification.SETTLING
    whole = await verification.verify_ledger(stage.billing)
    for size in (1, 4, 15):
        monkeypatch.setattr(verification, "TRANSFERS_AT_ONCE", size)
        monkeypatch.setattr(verification, "WORKSPACES_AT_ONCE", 2)
        assert await verification.verify_ledger(stage.billing) == whole
    assert whole.is_sound
    assert whole.transfer_count == 45
