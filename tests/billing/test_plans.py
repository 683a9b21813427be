"""Plans are read from a file that is checked as a whole."""

from pathlib import Path

import pytest

from services.billing.domain import UNLIMITED_MS, UnknownPlan
from services.billing.plans import PlansInvalid, read_plans
from services.billing.usecases.start import check_plans
from tests.billing.stage import PLANS, Stage


def test_packaged_plans_never_refuse_a_self_hoster() -> None:
    plan = read_plans(None).get("")
    assert (plan.name, plan.tier, plan.tier_level, plan.retention_days) == ("unlimited", "paid", 2, 365)
    assert plan.overage_limit_ms == UNLIMITED_MS


@pytest.mark.parametrize(("name", "tier", "level", "days"), [("paid", "paid", 2, 365), ("free", "free", 1, 30), ("guest", "guest", 0, 3)])
def test_packaged_plans_keep_what_their_tier_promises(name: str, tier: str, level: int, days: int) -> None:
    plan = read_plans(None).get(name)
    assert (plan.tier, plan.tier_level, plan.retention_days) == (tier, level, days)
    assert plan.included_ms > 0


def test_unknown_plan_is_refused() -> None:
    with pytest.raises(UnknownPlan):
        read_plans(None).get("gold")


def test_every_problem_of_a_plans_file_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "plans.toml"
    wrong = PLANS.replace("retention_days = 30", "retention_days = 0", 1).replace('tier = "paid"', 'tier = "gold"')
    path.write_text(wrong + 'included_hours = 3\n[plans."Big Plan"]\ntier = "paid"\n')
    with pytest.raises(PlansInvalid) as refused:
        read_plans(path)
    for problem in ("plans.small.retention_days", "plans.debt.tier", "plans.debt.included_hours", "Big Plan"):
        assert problem in str(refused.value)


@pytest.mark.parametrize("content", ["default = ", PLANS.replace('default = "small"', 'default = "none"'), "\xff"])
def test_an_unreadable_plans_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "plans.toml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(PlansInvalid):
        read_plans(path)
    with pytest.raises(PlansInvalid):
        read_plans(tmp_path / "missing.toml")


async def test_a_plan_that_workspaces_are_on_cannot_be_removed(stage: Stage) -> None:
    await stage.workspace()
    await check_plans(stage.billing)
    await stage.write("UPDATE workspace SET plan = 'gone'")
    with pytest.raises(PlansInvalid, match="gone"):
        await check_plans(stage.billing)
