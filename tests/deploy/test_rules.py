"""Alerts fire when they should, name what exists, and each tells what to do."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.metric_names import RULES, problems_of, rules
from tests.promtool import find_promtool

ROOT = Path(__file__).resolve().parents[2]
RUNBOOKS = ROOT / "docs" / "operations.md"
TESTS = sorted(RULES.parent.glob("*.tests.yaml"))
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = [rule for rule in rules() if "alert" in rule]
FIELDS = ("summary", "description", "runbook_url")


@pytest.fixture(scope="module")
def promtool() -> Path:
    found = find_promtool()
    if found is None:
        pytest.skip("this machine has neither promtool nor apt, which would fetch it")
    return found


def run(promtool: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=280, check=False)


def test_prometheus_accepts_the_rules(promtool: Path) -> None:
    checked = run(promtool, "check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stderr


def write_tests_of(group: dict[str, Any], folder: Path) -> list[str]:
    """The tests of one group's alerts, over its rules and what they build upon: all rules for every test take four times as long."""
    recorded = [one for one in GROUPS if one["name"] == "steno-ratios" and group["name"] in ("steno-ratios", "steno-objectives")]
    (folder / RULES.name).write_text(yaml.safe_dump({"groups": [*(one for one in recorded if one is not group), group]}))
    mine = {rule.get("alert") for rule in group["rules"]}
    for path in TESTS:
        content = yaml.safe_load(path.read_text())
        content["tests"] = [test for test in content["tests"] if alert_of(test) in mine]
        (folder / path.name).write_text(yaml.safe_dump(content))
    return [str(folder / path.name) for path in TESTS]


def alert_of(test: dict[str, Any]) -> str | None:
    """What a test is of; None for the tests of what is computed ahead."""
    return next((case["alertname"] for case in test.get("alert_rule_test", ())), None)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group["name"])
def test_alerts_fire_when_they_should_and_not_before(promtool: Path, group: dict[str, Any], tmp_path: Path) -> None:
    tested = run(promtool, "test", "rules", *write_tests_of(group, tmp_path))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_prometheus_notices_an_alert_that_does_not_fire(promtool: Path, tmp_path: Path) -> None:
    broken = RULES.read_text().replace("steno_lease_overdue_seconds) > 120", "steno_lease_overdue_seconds) > 100000")
    (tmp_path / RULES.name).write_text(broken)
    content = yaml.safe_load((RULES.parent / "steno.tests.yaml").read_text())
    content["tests"] = [test for test in content["tests"] if test["name"].startswith("StenoLeaseOverdue")]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(content))
    assert run(promtool, "test", "rules", str(tmp_path / "tests.yaml")).returncode == 1


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rule_names_only_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    assert problems_of(rule["expr"]) == []


@pytest.mark.parametrize(
    "expression", ["steno_nothing > 0", 'steno_ready{colour="red"} == 0', "sum by (state) (steno_ready)", "steno_rate_refusals"]
)
def test_what_does_not_exist_is_found(expression: str) -> None:
    assert problems_of(expression)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert set(alert["annotations"]) == set(FIELDS)
    assert alert["annotations"]["runbook_url"] == f"docs/operations.md#{alert['alert'].lower()}"


def outcomes() -> dict[str, list[bool]]:
    """By alert, whether each of its tests expects it to fire."""
    tests = [test for path in TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    found: dict[str, list[bool]] = {}
    for case in (case for test in tests for case in test.get("alert_rule_test", [])):
        found.setdefault(case["alertname"], []).append(bool(case["exp_alerts"]))
    return found


def test_every_alert_is_tested_to_fire_and_to_stay_quiet() -> None:
    assert outcomes() == {alert["alert"]: [True, False] for alert in ALERTS}


def runbooks() -> dict[str, str]:
    """The text of every runbook by the name of its alert."""
    section = RUNBOOKS.read_text().partition("\n## Runbooks\n")[2].partition("\n## ")[0]
    parts = re.split(r"^### (\w+)\n", section, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    books = runbooks()
    assert list(books) == [alert["alert"] for alert in ALERTS]
    for words in ("Means", "Users see", "Look", "Do", "Ends"):
        assert [name for name, text in books.items() if f"**{words}" not in text] == []
