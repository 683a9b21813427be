"""The short form of the campaign `disk`."""

import pytest

from faults.campaigns import disk
from tests.faults.conftest import Missed


@pytest.mark.timeout(900)
def test_a_full_disk_is_told_survived_and_recovered_from(missed: Missed) -> None:
    assert missed(disk) == []
