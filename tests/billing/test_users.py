"""Users and buyers of a workspace, and the plans they are on, on real databases."""

import asyncio
from pathlib import Path

import pytest

from services.billing import keys
from services.billing.domain import InvalidGuestToken, UnknownPlan, UserNotFound, WorkspaceNotFound
from services.billing.usecases import accounts, assignment, ledger, users
from services.mesh.errors import InvalidField
from services.mesh.identity import Caller, CallerKind
from services.mesh.ids import new_id
from tests.billing.stage import MINUTE_MS, Stage, open_stage

ANN = "ann@example.com"


async def _granted(stage: Stage, wallet_id: str) -> tuple[float, float]:
    balance = await ledger.get_balance(stage.billing, wallet_id)
    return balance.available_ms / MINUTE_MS, balance.granted_ms / MINUTE_MS


async def test_fifty_first_sights_at_once_make_one_user(stage: Stage, database_url: str, tmp_path: Path) -> None:
    workspace = await stage.workspace()
    async with open_stage(database_url, tmp_path, stage.clock) as other:
        replicas = (stage, other) * 25
        found = await asyncio.gather(*(users.resolve_user(replica.billing, workspace.id, ANN) for replica in replicas))
    assert len({user.id for user in found}) == 1
    assert await stage.rows("SELECT count(*) FROM workspace WHERE parent_id IS NOT NULL") == [(1,)]
    assert await _granted(stage, found[0].id) == (100, 100)
    assert await _granted(stage, workspace.id) == (100, 100)


async def test_an_address_is_another_user_in_another_workspace(stage: Stage) -> None:
    one, other = await stage.workspace(), await stage.workspace()
    first, second = [await users.resolve_user(stage.billing, workspace.id, ANN) for workspace in (one, other)]
    assert first.id != second.id
    assert (first.parent_id, second.parent_id) == (one.id, other.id)


async def test_users_belong_to_workspaces_and_not_to_users(stage: Stage) -> None:
    user = await users.resolve_user(stage.billing, (await stage.workspace()).id, ANN)
    for nobody in (new_id(), user.id):
        with pytest.raises(WorkspaceNotFound):
            await users.resolve_user(stage.billing, nobody, ANN)
        with pytest.raises(WorkspaceNotFound):
            await accounts.get_workspace(stage.billing, nobody)
        with pytest.raises(WorkspaceNotFound):
            await accounts.create_key(stage.billing, nobody, "key", kind=1, scopes=[], expire_time=None, test=False)


async def test_a_guest_token_opens_its_wallet_in_its_workspace_only(stage: Stage) -> None:
    workspace, stranger = await stage.workspace(), await stage.workspace()
    token = keys.new_guest_token()
    wallet = await stage.buyer(workspace.id, token)
    assert (await users.resolve_guest(stage.billing, workspace.id, token)).id == wallet
    wrong = [(stranger.id, token), (workspace.id, token + "x"), (workspace.id, keys.new_guest_token()), (workspace.id, "")]
    wrong += [(workspace.id, keys.digest(stage.billing.pepper, token)), (workspace.id, "gt_" + "Ω" * 500)]
    for workspace_id, guess in wrong:
        with pytest.raises(InvalidGuestToken):
            await users.resolve_guest(stage.billing, workspace_id, guess)
    ((stored,),) = await stage.rows("SELECT guest_digest FROM workspace WHERE guest_digest IS NOT NULL")
    assert stored == keys.digest(stage.billing.pepper, token)


async def test_moving_to_a_plan_that_includes_more_adds_the_difference_once(stage: Stage) -> None:
    workspace = await stage.workspace()
    for plan in ("priced", "small", "priced", "debt", "priced"):
        await assignment.assign_plan(stage.billing, workspace.id, "", plan)
    assert await _granted(stage, workspace.id) == (200, 200)
    stage.clock.pass_by(days=30)
    assert await _granted(stage, workspace.id) == (200, 200)
    await assignment.assign_plan(stage.billing, workspace.id, "", "guest")
    assert await _granted(stage, workspace.id) == (200, 200)
    stage.clock.pass_by(days=30)
    assert await _granted(stage, workspace.id) == (30, 30)


async def test_a_move_in_a_month_that_nobody_began_yet_grants_the_new_plan_once(stage: Stage) -> None:
    workspace = await stage.workspace()
    stage.clock.pass_by(days=60)
    await assignment.assign_plan(stage.billing, workspace.id, "", "priced")
    assert await _granted(stage, workspace.id) == (200, 200)


async def test_a_user_moves_alone(stage: Stage) -> None:
    workspace = await stage.workspace()
    user = await users.resolve_user(stage.billing, workspace.id, ANN)
    await assignment.assign_plan(stage.billing, workspace.id, ANN, "priced")
    assert (await users.resolve_user(stage.billing, workspace.id, ANN)).plan == "priced"
    assert await _granted(stage, user.id) == (200, 200)
    assert (await accounts.get_workspace(stage.billing, workspace.id)).plan == "small"


async def test_assignments_to_nobody_and_to_nothing_are_refused(stage: Stage) -> None:
    workspace = await stage.workspace()
    refusals = [
        (new_id(), "", "small", WorkspaceNotFound),
        (workspace.id, ANN, "small", UserNotFound),
        (workspace.id, "", "gold", UnknownPlan),
        (workspace.id, "", "", UnknownPlan),
    ]
    for workspace_id, email, plan, reason in refusals:
        with pytest.raises(reason):
            await assignment.assign_plan(stage.billing, workspace_id, email, plan)


async def test_the_plan_of_a_caller_is_that_of_its_wallet_or_that_of_guests(stage: Stage) -> None:
    workspace = await stage.workspace("debt")
    user = await users.resolve_user(stage.billing, workspace.id, ANN)
    guest = Caller(CallerKind.GUEST, "gateway", workspace.id, "guest:key")
    callers = {
        "debt": Caller(CallerKind.KEY, "gateway", workspace.id, "workspace"),
        "small": Caller(CallerKind.USER, "gateway", workspace.id, f"user:{user.id}", wallet_id=user.id),
        "guest": guest,
    }
    assert {name: (await assignment.plan_of(stage.billing, caller)).name for name, caller in callers.items()} == {
        name: name for name in callers
    }
    with pytest.raises(WorkspaceNotFound):
        await assignment.plan_of(stage.billing, Caller(CallerKind.KEY, "gateway", new_id(), "workspace"))


async def test_a_job_that_changed_hands_keeps_its_first_hold_and_no_other_tenant_learns_of_it(stage: Stage) -> None:
    workspace, stranger = await stage.workspace(), await stage.workspace()
    user = await users.resolve_user(stage.billing, workspace.id, ANN)
    foreign = await users.resolve_user(stage.billing, stranger.id, ANN)
    job_id = new_id()
    first = await ledger.reserve(stage.batches, workspace.id, job_id, MINUTE_MS)
    again = await ledger.reserve(stage.batches, user.id, job_id, MINUTE_MS)
    assert (again.hold.workspace_id, again.hold.amount_ms) == (first.hold.workspace_id, MINUTE_MS)
    assert again.plan.name == user.plan
    for wallet_id in (stranger.id, foreign.id):
        with pytest.raises(InvalidField):
            await ledger.reserve(stage.batches, wallet_id, job_id, MINUTE_MS)
    assert [await _granted(stage, wallet.id) for wallet in (workspace, user)] == [(99, 100), (100, 100)]
