"""What was backed up under load is there again: the short form of the campaign `restores`."""

import pytest

from faults.campaigns import restores
from tests.faults.conftest import Missed


@pytest.mark.timeout(600)
def test_a_backup_taken_under_load_holds_every_job_of_before(missed: Missed) -> None:
    assert missed(restores) == []
