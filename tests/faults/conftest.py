"""What tests of campaigns share."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from faults.campaign import Campaign, Figure, Options, Skipped

Missed = Callable[[Campaign], Sequence[Figure]]


@pytest.fixture
def missed(tmp_path: Path) -> Missed:
    """Runs a campaign's short form; the figures that miss their bounds. Skips, with its reason, what this machine does not allow."""

    def run(campaign: Campaign) -> Sequence[Figure]:
        try:
            return [figure for figure in campaign.run(Options(tmp_path)) if not figure.holds]
        except Skipped as reason:
            pytest.skip(str(reason))

    return run
