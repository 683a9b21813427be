"""Credit is never promised twice, however many ask at the same moment (I-19)."""

from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import overdraft


@pytest.mark.timeout(600)
def test_exactly_the_affordable_submits_are_accepted(tmp_path: Path) -> None:
    figures = overdraft.run(Options(tmp_path))
    assert [figure for figure in figures if not figure.holds] == []
