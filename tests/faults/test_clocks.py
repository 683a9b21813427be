"""Wrong clocks: the campaign, and the clocks themselves."""

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faults.campaign import Skipped
from faults.campaigns import clocks
from faults.clocks import make_clocks
from tests.faults.conftest import Missed

TELLS = "import time; time.sleep(0.01); print(time.time(), time.monotonic())"


@pytest.mark.timeout(900)
def test_a_wrong_clock_removes_nothing_early_and_charges_nothing_twice(missed: Missed) -> None:
    assert missed(clocks) == []


def test_one_service_has_another_time_and_waits_as_long_as_all(tmp_path: Path) -> None:
    try:
        made = make_clocks(tmp_path / "clocks", ("jobs", "billing"))
    except Skipped as reason:
        pytest.skip(str(reason))
    made.set("jobs", timedelta(days=1))
    told = {}
    for service in ("jobs", "billing"):
        command = [str(made.interpreter), "-S", "-c", TELLS, f"services.{service}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
        told[service] = datetime.fromtimestamp(float(said[0]), UTC)
    assert timedelta(hours=23) < told["jobs"] - datetime.now(UTC) < timedelta(hours=25)
    assert abs(told["billing"] - datetime.now(UTC)) < timedelta(minutes=5)
