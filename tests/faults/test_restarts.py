"""A rolling upgrade is invisible: the short form of the campaign `restarts`."""

import pytest

from faults.campaigns import restarts
from tests.faults.conftest import Missed


@pytest.mark.timeout(600)
def test_no_request_fails_and_no_job_is_lost_while_every_replica_is_restarted(missed: Missed) -> None:
    assert missed(restarts) == []
