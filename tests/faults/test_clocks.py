"""The short form of the campaign `clocks`."""

import pytest

from faults.campaigns import clocks
from tests.faults.conftest import Missed


@pytest.mark.timeout(900)
def test_a_wrong_clock_removes_nothing_early_and_charges_nothing_twice(missed: Missed) -> None:
    assert missed(clocks) == []
