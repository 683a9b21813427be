"""The short form of the campaign `amnesia`."""

from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import amnesia


@pytest.mark.timeout(900)
def test_a_wiped_event_store_loses_no_job(tmp_path: Path) -> None:
    figures = amnesia.run(Options(tmp_path))
    assert [figure for figure in figures if not figure.holds] == []
