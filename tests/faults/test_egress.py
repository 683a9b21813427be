"""No URL of the corpus is fetched, whichever channel it comes by, and no name that turns private is followed."""

from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import egress
from faults.corpora.egress import every_url, locations
from faults.doors.canary import running_canary


@pytest.mark.timeout(400)
def test_no_channel_reaches_a_private_address(tmp_path: Path) -> None:
    assert [figure for figure in egress.run(Options(tmp_path)) if not figure.holds] == []


def test_a_canary_tells_who_came() -> None:
    with running_canary() as canary:
        canary.prove()
        assert canary.visits == []


def test_every_channel_has_enough_vectors() -> None:
    assert min(len(every_url(8080)), len(locations(8080))) >= 2 * egress.LEAST_VECTORS
