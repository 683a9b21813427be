"""When the janitor may believe how old things look."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from services.storage.settings import StorageSettings
from services.storage.workers import ClockWatch

HOUR = timedelta(hours=1)


class Clocks:
    """Clocks that a test sets."""

    def __init__(self) -> None:
        self.steady_seconds = 1000.0
        self.wall_seconds = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
        self.watch = ClockWatch(HOUR, lambda: self.steady_seconds, lambda: self.wall_seconds)

    def pass_time(self, seconds: float) -> None:
        """Both clocks go on."""
        self.steady_seconds += seconds
        self.wall_seconds += seconds

    def trusts(self, database_ahead_seconds: float = 0) -> bool:
        """What the watch says now."""
        return self.watch.trusts(datetime.fromtimestamp(self.wall_seconds + database_ahead_seconds, UTC))


def test_clocks_that_go_alike_are_trusted() -> None:
    clocks = Clocks()
    for _ in range(10):
        assert clocks.trusts(1.0)
        clocks.pass_time(600)


@pytest.mark.parametrize("step_seconds", [-86_400, -3600, 3600, 86_400])
def test_after_a_step_nothing_is_old_until_it_would_be_anyway(step_seconds: int) -> None:
    clocks = Clocks()
    clocks.pass_time(600)
    clocks.wall_seconds += step_seconds
    assert not clocks.trusts()
    clocks.pass_time(3599)
    assert not clocks.trusts()
    clocks.pass_time(2)
    assert clocks.trusts()


def test_a_database_whose_clock_differs_is_not_trusted() -> None:
    clocks = Clocks()
    assert not clocks.trusts(301)
    clocks.pass_time(3601)
    assert not clocks.trusts(-301)
    clocks.pass_time(3601)
    assert clocks.trusts(299)


@pytest.mark.parametrize(
    "settings",
    [
        {"abandoned_seconds": 3600, "fetch_seconds": 3000, "site_seconds": 300},
        {"abandoned_seconds": 3600, "upload_url_seconds": 1800, "upload_seconds": 3000},
    ],
    ids=str,
)
def test_what_is_in_hand_cannot_be_set_to_be_abandoned(settings: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="abandoned_seconds"):
        StorageSettings(**settings)  # type: ignore[arg-type]
    assert StorageSettings(**{**settings, "abandoned_seconds": 7200})  # type: ignore[arg-type]


@pytest.mark.parametrize("networks", ["10.0.0.0/8,nonsense", "10.0.0.1/8", "300.0.0.0/8", "*"])
def test_networks_that_are_none_are_refused_at_start(networks: str) -> None:
    with pytest.raises(ValidationError, match="egress_allowed_networks"):
        StorageSettings(egress_allowed_networks=networks)


def test_networks_are_read_with_commas() -> None:
    policy = StorageSettings(egress_allowed_networks="10.0.0.0/8, fd00::/8,").network_policy()
    assert [str(network) for network in policy.allowed_networks] == ["10.0.0.0/8", "fd00::/8"]
