"""Nobody comes in by a forged token, a forged caller or a guessed key."""

import random
from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import identities
from faults.doors.timing import kolmogorov_smirnov


@pytest.mark.timeout(400)
def test_no_forgery_is_accepted_and_all_are_answered_alike(tmp_path: Path) -> None:
    assert [figure for figure in identities.run(Options(tmp_path)) if not figure.holds] == []


def test_times_of_one_kind_are_not_told_apart_and_times_of_two_are() -> None:
    chance = random.Random(1)
    usual, same, slower = ([chance.gauss(mean, 1.0) for _ in range(2_000)] for mean in (10.0, 10.0, 10.2))
    assert kolmogorov_smirnov(usual, same) > 0.01
    assert kolmogorov_smirnov(usual, slower) < 0.001
