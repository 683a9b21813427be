"""The chart and compose give the services the same settings."""

from collections.abc import Mapping

import pytest

from tests.deploy.charts import SERVICES, Rendering, render, settings_of_chart
from tests.deploy.settings_in_use import LAYERS, settings_of_compose
from tools.chart_settings import SET_BY_CHART, settings_schema

# Compose on one machine, as values: an S3 server beside it, a folder of models.
AS_COMPOSE = ("s3.mode=chart", "settings.storage.accepted_risks={plaintext_web}", "models.create=true")
# What compose leaves to a variable of its own and the chart to `settings`.
CHOSEN = {"STENO_GATEWAY_TRUSTED_PROXIES", "STENO_INFERENCE_MODEL"}
# What only a cluster needs: time for its routes to forget a pod, a limit of processors that a process does not see, domains of their own,
# and the engine by name where there is a choice.
OF_A_CLUSTER = {
    *("SHUTDOWN_NOTICE_SECONDS", "TLS_TRUST_DOMAIN"),
    *("ENGINE", "ENGINE_PROCESSES", "JOB_SLOTS", "TRITON_CONTROL_HEADER"),
}
# Inference and Triton of one machine share a folder of detectors; in a cluster inference runs them itself.
OF_ONE_MACHINE = {"STENO_INFERENCE_TRITON_REPOSITORY"}


@pytest.fixture(scope="module")
def as_compose() -> Rendering:
    """The chart with what compose has."""
    return render("minimal", *(part for value in AS_COMPOSE for part in ("--set", value)))


def _differences(rendering: Rendering, compose: Mapping[str, set[str]]) -> tuple[set[str], set[str]]:
    """Settings that only compose names, and those that only the chart names."""
    chart = settings_of_chart(rendering)
    in_chart = {name for names in chart.values() for name in names}
    in_compose = {name for names in compose.values() for name in names}
    return in_compose - in_chart, in_chart - in_compose


def _without_service(names: set[str]) -> set[str]:
    return {name.split("_", 2)[2] for name in names}


def test_on_processors_they_name_the_same(as_compose: Rendering) -> None:
    only_compose, only_chart = _differences(as_compose, settings_of_compose())
    assert only_compose <= CHOSEN
    assert _without_service(only_chart) <= OF_A_CLUSTER


def test_with_triton_they_name_the_same(renderings: Mapping[str, Rendering]) -> None:
    only_compose, only_chart = _differences(renderings["gpu"], settings_of_compose(LAYERS))
    assert only_compose <= CHOSEN | OF_ONE_MACHINE
    assert _without_service(only_chart) <= OF_A_CLUSTER


def test_what_compose_leaves_open_the_chart_does_too() -> None:
    offered = {f"STENO_{service.upper()}_{name.upper()}" for service, schema in settings_schema().items() for name in schema["properties"]}
    assert offered >= CHOSEN
    assert {"triton_repository"} <= SET_BY_CHART["inference"]
    assert set(settings_schema()) == set(SERVICES)
