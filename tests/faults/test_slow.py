"""Connections that hardly send anything are closed in time, and nobody else is refused for them."""

from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import slow


@pytest.mark.timeout(400)
def test_slow_connections_are_closed_in_time(tmp_path: Path) -> None:
    missed = [figure for figure in slow.run(Options(tmp_path)) if not figure.holds]
    assert missed == []
