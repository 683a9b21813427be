"""The dashboard is what its code says, and asks only for what exists."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.metric_names import declared_metrics, problems_of, rules
from tools.dashboard.__main__ import FILE, text

COMPOSE = Path(__file__).resolve().parents[2] / "deploy" / "compose"
DOCUMENT = json.loads(FILE.read_text())
PANELS = [panel for panel in DOCUMENT["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Every expression of the panels, with something chosen."""
    asked = [target["expr"] for panel in PANELS for target in panel["targets"]]
    asked += [annotation["expr"] for annotation in DOCUMENT["annotations"]["list"]]
    return [expression.replace("$service", ".+").replace("$instance", ".+") for expression in asked]


def test_file_is_what_the_code_says() -> None:
    assert FILE.read_text() == text(), "run python -m tools.dashboard"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel_asks_for_what_exists_and_says_what_it_shows(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    asked = [target["expr"].replace("$service", ".+").replace("$instance", ".+") for target in panel["targets"]]
    assert asked
    assert [problem for expression in asked for problem in problems_of(expression)] == []


def test_panels_lie_side_by_side() -> None:
    assert len({panel["id"] for panel in DOCUMENT["panels"]}) == len(DOCUMENT["panels"])
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in DOCUMENT["panels"]):
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not taken & cells
        taken |= cells


def test_nothing_is_measured_for_nobody() -> None:
    asked = " ".join([*expressions(), *(rule["expr"] for rule in rules())])
    assert [metric._name for _, metric in declared_metrics() if metric._name not in asked] == []


def test_compose_gives_targets_the_labels_and_grafana_the_source_that_are_asked_for() -> None:
    scraped = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text())["scrape_configs"]
    [steno] = [job for job in scraped if job["job_name"] == "steno"]
    assert "service" in [rule["target_label"] for rule in steno["relabel_configs"]]
    kinds = [source["type"] for source in yaml.safe_load((COMPOSE / "grafana" / "datasources.yaml").read_text())["datasources"]]
    asked = {variable["query"] for variable in DOCUMENT["templating"]["list"] if variable["type"] == "datasource"}
    assert asked <= set(kinds)
