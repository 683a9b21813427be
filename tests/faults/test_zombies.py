"""The short form of the campaign `zombies`."""

from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import zombies


@pytest.mark.timeout(900)
def test_a_worker_stopped_beyond_its_lease_writes_nothing(tmp_path: Path) -> None:
    figures = zombies.run(Options(tmp_path))
    assert [figure for figure in figures if not figure.holds] == []
