"""Plans are read from a file that is checked as a whole."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
from pydantic import BaseModel

from services.billing.domain import UNLIMITED_MS, UnknownCreditPack, UnknownPlan
from services.billing.plans import PlansInvalid, read_plans
from services.billing.plans_file import CreditPackEntry, PlanEntry, RateEntry
from services.billing.usecases.start import check_plans
from steno.billing.v1.workspace_pb2 import Plan
from tests.billing.stage import PLANS, Stage, plans_of


def test_packaged_plans_never_refuse_a_self_hoster() -> None:
    plan = read_plans(None).get("")
    assert (plan.name, plan.tier, plan.tier_level, plan.retention_days) == ("unlimited", "paid", 2, 365)
    assert plan.overage_limit_ms == UNLIMITED_MS


@pytest.mark.parametrize(("name", "tier", "level", "days"), [("paid", "paid", 2, 365), ("free", "free", 1, 30), ("guest", "guest", 0, 3)])
def test_packaged_plans_keep_what_their_tier_promises(name: str, tier: str, level: int, days: int) -> None:
    plan = read_plans(None).get(name)
    assert (plan.tier, plan.tier_level, plan.retention_days) == (tier, level, days)
    assert plan.included_ms > 0


def test_packaged_plans_take_files_of_ten_hours() -> None:
    assert {plan.max_duration_ms for plan in read_plans(None).plans.values()} == {10 * 3600 * 1000}


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


OLD = PLANS.partition("[plans.guest]")[0]


def test_a_file_from_before_users_and_prices_still_loads(tmp_path: Path) -> None:
    plans = plans_of(tmp_path, OLD)
    assert (plans.default, plans.user, plans.guest) == ("small", "small", "small")
    plan = plans.get("small")
    assert (plan.title, plan.overage_cents_per_minute, plan.monthly_uploads) == ("Small", 0, 0)
    assert _limits(plan) == {"icana": (10, 60, 0), "actionvibe": (10, 100, 20)}
    assert not plans.packs
    named = plans_of(tmp_path, OLD + OLD.partition('"small"')[2].replace("plans.small", "plans.guest"))
    assert (named.user, named.guest) == ("small", "guest")


def _limits(plan: Plan) -> dict[str, tuple[int, int, int]]:
    return {rate.contract: (rate.uploads_per_minute, rate.reads_per_minute, rate.tokens_per_minute) for rate in plan.rate_classes}


def test_packaged_plans_honour_the_numbers_that_the_contracts_publish() -> None:
    for name in ("unlimited", "paid", "free", "guest"):
        limits = _limits(read_plans(None).get(name))
        assert (limits["icana"], limits["actionvibe"]) == ((10, 60, 0), (10, 100, 20))
    assert set(_limits(read_plans(None).get("unlimited"))) == {"icana", "actionvibe"}
    uploads = {name: _limits(read_plans(None).get(name))["native"][0] for name in ("free", "guest")}
    assert uploads == {"free": 30, "guest": 10}


def test_packaged_plans_name_those_of_users_and_guests_and_sell_packs() -> None:
    plans = read_plans(None)
    assert (plans.default, plans.user, plans.guest) == ("unlimited", "free", "guest")
    assert [(pack.proto.name, pack.plan) for pack in plans.packs.values()] == [("hours-10", ""), ("hours-100", "paid")]
    with pytest.raises(UnknownCreditPack):
        plans.pack("gold")


@pytest.mark.parametrize(("entry", "section"), [(PlanEntry, "Plans"), (RateEntry, "Rate classes"), (CreditPackEntry, "Credit packs")])
def test_the_packaged_file_explains_every_field_and_no_other(entry: type[BaseModel], section: str) -> None:
    text = files("services.billing").joinpath("plans.toml").read_text()
    parts = re.split(r"^# (Plans|Rate classes|Credit packs), \[", text, flags=re.MULTILINE)
    explained = re.findall(r"^#   ([a-z_]+)  ", parts[parts.index(section) + 1], re.MULTILINE)
    assert explained == list(entry.model_fields)


def test_running_a_detector_costs_a_quarter_unless_the_plan_says_otherwise(tmp_path: Path) -> None:
    assert {plan.detection_rate_percent for plan in read_plans(None).plans.values()} == {25}
    rates = {asked: plans_of(tmp_path, PLANS.replace("retention_days = 30\n", f"retention_days = 30\n{asked}", 1)) for asked in _RATES}
    assert {asked: plans.get("small").detection_rate_percent for asked, plans in rates.items()} == _RATES
    assert all(plans.get("small").HasField("detection_rate_percent") for plans in rates.values()), "0 is told, not left out"


_RATES = {"": 25, "detection_rate_percent = 0\n": 0, "detection_rate_percent = 1000\n": 1000}


@pytest.mark.parametrize("rate", ["-1", "1001", "2.5", '"free"'])
def test_rate_of_detection_out_of_its_range_is_refused(tmp_path: Path, rate: str) -> None:
    wrong = PLANS.replace("retention_days = 30\n", f"retention_days = 30\ndetection_rate_percent = {rate}\n", 1)
    with pytest.raises(PlansInvalid, match=r"plans\.small\.detection_rate_percent"):
        plans_of(tmp_path, wrong)


def test_every_name_that_leads_nowhere_is_told_with_the_other_problems(tmp_path: Path) -> None:
    wrong = OLD.replace('default = "small"', 'default = "none"\nuser = "nobody"\nguest = "ghost"').replace(
        "tier_level = 1", "tier_level = -1"
    )
    wrong += 'rate_class = "fast"\n[credit_packs.one]\ntitle = "One"\nminutes = 0\nprice_cents = 1\ncurrency = "EUR"\nplan = "gold"\n'
    wrong += "[rate_classes.slow.smoke]\nuploads_per_minute = 1\n"
    with pytest.raises(PlansInvalid) as refused:
        plans_of(tmp_path, wrong)
    expected = ("default", "user", "guest", "plans.small.tier_level", "plans.small.rate_class", "credit_packs.one.minutes")
    for problem in (*expected, "credit_packs.one.currency", "credit_packs.one.plan", "rate_classes.slow.smoke"):
        assert f"\n{problem}" in str(refused.value)


def test_a_rate_that_the_bus_cannot_count_is_refused(tmp_path: Path) -> None:
    content = OLD + 'rate_class = "fast"\n[rate_classes.fast.native]\nreads_per_minute = '
    assert _limits(plans_of(tmp_path, f"{content}2000").get("small")) == {"native": (0, 2000, 0)}
    with pytest.raises(PlansInvalid, match=r"rate_classes\.fast\.native\.reads_per_minute"):
        plans_of(tmp_path, f"{content}2001")


@pytest.mark.parametrize("content", ["plans = 3", 'default = "a"\nplans = []', 'default = "a"\n[plans]\na = 1\n[credit_packs]\nb = 2'])
def test_a_file_of_another_shape_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(PlansInvalid):
        plans_of(tmp_path, content)


async def test_a_plan_that_workspaces_are_on_cannot_be_removed(stage: Stage) -> None:
    await stage.workspace()
    await check_plans(stage.billing)
    await stage.write("UPDATE workspace SET plan = 'gone'")
    with pytest.raises(PlansInvalid, match="gone"):
        await check_plans(stage.billing)
