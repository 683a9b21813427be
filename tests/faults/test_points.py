"""The short form of the campaign `points`."""

from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import points


@pytest.mark.timeout(900)
def test_a_process_that_dies_between_two_effects_loses_nothing(tmp_path: Path) -> None:
    figures = points.run(Options(tmp_path))
    assert [figure for figure in figures if not figure.holds] == []
