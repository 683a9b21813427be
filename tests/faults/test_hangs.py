"""The short form of the campaign `hangs`."""

import pytest

from faults.campaigns import hangs
from tests.faults.conftest import Missed


@pytest.mark.timeout(900)
def test_every_request_is_answered_while_a_dependency_hangs(missed: Missed) -> None:
    assert missed(hangs) == []
