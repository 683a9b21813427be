"""What is secret stays out of every sink, and would be found there."""

import base64
from pathlib import Path

import pytest

from faults.campaign import Options
from faults.campaigns import secrets
from faults.doors.canaries import Canaries


@pytest.mark.timeout(600)
def test_no_canary_is_in_any_sink(tmp_path: Path) -> None:
    assert [figure for figure in secrets.run(Options(tmp_path)) if not figure.holds] == []


@pytest.mark.parametrize("before", range(7))
@pytest.mark.parametrize("value", [b"canary-0", b"canary-01", b"canary-012", bytes(range(200, 233))])
def test_a_canary_is_found_in_every_spelling(value: bytes, before: int) -> None:
    canaries = Canaries()
    canaries.plant("it", value)
    whole = b"x" * before + value + b"y" * 5
    for content in (whole, b"." + whole.hex().encode(), base64.b64encode(whole)):
        assert canaries.found_in(content) == {"it"}
    assert canaries.found_in(base64.b64encode(whole[: len(whole) - 7])) == set()


def test_what_could_turn_up_by_chance_is_no_canary() -> None:
    with pytest.raises(AssertionError):
        Canaries().plant("short", "seven77")


def test_databases_may_hold_what_is_somebodys_and_no_credential() -> None:
    canaries = Canaries()
    canaries.plant("file name", "interview.flac", credential=False)
    assert canaries.found_in(b"interview.flac") == {"file name"}
    assert canaries.found_in(b"interview.flac", credentials_only=True) == set()
