"""The short form of the campaign `kills`."""

from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import kills


@pytest.mark.timeout(900)
def test_killed_and_stopped_processes_lose_no_job_and_charge_none_twice(tmp_path: Path) -> None:
    figures = kills.run(Options(tmp_path))
    assert [figure for figure in figures if not figure.holds] == []
